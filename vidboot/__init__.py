"""vidboot: video diffusion from views (Ma 2025, arXiv 2505.11825)."""
