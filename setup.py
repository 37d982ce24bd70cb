"""Packaging of CORONet.

Beam ships this file to its workers (`--setup_file`), so it must stand on its own:
everything that setuptools needs is here or in pyproject.toml beside it.
"""

from setuptools import find_packages, setup

# The packages keep the names of their folders, so that an import reads the same in an
# editable install, a wheel, a Beam worker and a Kubeflow container.
setup(
    packages=find_packages(
        include=["pipeline*", "components*", "models*", "edge*", "kubeflow*"],
        exclude=["*.node_modules*"],
    ),
    include_package_data=True,
)
