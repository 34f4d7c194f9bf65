import sys
from pathlib import Path

# Benchmarks share their modules. Appended, as another folder has a `footage` too.
sys.path.append(str(Path(__file__).parent))
