"""Checks of the method's claims on Gaussian videos, where every denoiser is linear and every error exact."""
