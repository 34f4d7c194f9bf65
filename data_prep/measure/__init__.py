"""What is measured of a video: cuts, bars, quality, a fingerprint."""
