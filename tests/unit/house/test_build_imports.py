"""A plain build does not pay for what only some builds need."""

import subprocess
import sys


def test_the_builder_and_fetcher_import_no_git_http_or_package_lists():
    code = (
        "import sys\n"
        "from contextkernel.build import Builder, BuildRequest\n"
        "from contextkernel.build.recording import recorded\n"
        "from contextkernel.fetch import Limits, NetworkFetcher\n"
        "NetworkFetcher(Limits.from_environment())\n"
        "heavy = ('dulwich', 'urllib3', 'contextkernel.build.sbom')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
