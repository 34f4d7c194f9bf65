"""Gaussian videos, where every denoiser is linear and every error exact: the method's claims, checked."""
