"""All that pyproject.toml cannot say: packages that are found, and one more from a folder outside the package."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["rtseg*"]), "rtseg._models"], package_dir={"rtseg._models": "models"})
