import sys
from pathlib import Path

# The tests share `footage.py`.
sys.path.insert(0, str(Path(__file__).parent))
