"""All that pyproject.toml cannot say: packages that are found, one more from a folder outside the package, and C.

The extension is optional: where it cannot be compiled rtseg is installed without it, and does the same with OpenCV.
"""

import sys

from setuptools import Extension, find_packages, setup

KERNELS = Extension(
    "rtseg.ops._kernels",
    [f"rtseg/ops/_kernels{part}.c" for part in ("", "_blend", "_masks", "_redraw")],
    depends=["rtseg/ops/_kernels.h"],
    py_limited_api=True,
    optional=True,
    extra_compile_args=[] if sys.platform == "win32" else ["-O3", "-fvisibility=hidden"],
)

setup(
    packages=[*find_packages(include=["rtseg*"]), "rtseg._models"],
    package_dir={"rtseg._models": "models"},
    ext_modules=[KERNELS],
    exclude_package_data={"": ["*.c", "*.h"]},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
