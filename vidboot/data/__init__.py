"""Videos, masks and the manifest. Importing this does not import torch: preprocessing workers start quickly."""

from vidboot.data.manifest import Manifest, Shot, load_manifest
from vidboot.data.masks import MaskTrack
from vidboot.data.video import VideoError, VideoWriter, iter_frames, read_frames, write_video

__all__ = [
    "Manifest",
    "MaskTrack",
    "Shot",
    "VideoError",
    "VideoWriter",
    "iter_frames",
    "load_manifest",
    "read_frames",
    "write_video",
]
