"""Make `import hostwright` work in .venv, for Ansible's filters too, without a build step."""

from __future__ import annotations

import sysconfig
from pathlib import Path

checkout = Path(__file__).resolve().parent.parent
(Path(sysconfig.get_paths()["purelib"]) / "hostwright.pth").write_text(f"{checkout}\n", encoding="utf-8")
