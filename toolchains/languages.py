"""The languages beside Python: what they need, what is built of them, where it ends up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools"
R_LIBRARY = TOOLS / "r-library"
ANY_LANGUAGE = TOOLS / "any-language"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A command that must be there."""

    command: Sequence[str]
    """Prints its version."""
    least: tuple[int, ...] = ()
    """Oldest version that will do; empty: any."""
    otherwise: str = ""
    """How to get it where Debian's package is too old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What one language needs and what is built of it."""

    name: str
    """As on the command line."""
    title: str
    """For people."""
    tools: Sequence[Tool]
    """Commands that the build and the programs need."""
    packages: Sequence[str]
    """Debian packages that bring the tools and libraries."""
    probes: Sequence[Path] = ()
    """Files that the packages bring and no command shows: libraries, R packages."""
    sources: Sequence[str]
    """Files and folders, relative to the root, of which the build is made; a change means a new build."""
    outputs: Sequence[str]
    """Files and folders, relative to the root, that a build leaves; kept in the cache."""
    build: Sequence[str]
    """Command, run in the root."""
    test: Sequence[str] = ()
    """Command that runs the language's own tests; empty: they are among the Python ones."""
    is_cached: bool = True
    """Whether the outputs are all that a build leaves, so that they may be kept and taken again."""
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the environment of both commands."""


def _any_language(name: str, title: str, *, tools: Sequence[Tool], packages: Sequence[str]) -> Language:
    return Language(
        name=name,
        title=title,
        tools=tools,
        packages=packages,
        sources=["proto/rendezvous", f"examples/any-language/{name}", "examples/any-language/build.sh"],
        outputs=[f".tools/any-language/{name}"],
        build=["examples/any-language/build.sh", name],
    )


_R_PACKAGES = ("rcpp", "r6", "bit64", "testthat")

LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        Language(
            name="java",
            title="Java",
            tools=[Tool(command=["javac", "-version"], least=(17,)), Tool(command=["mvn", "--version"], least=(3, 6))],
            packages=["openjdk-17-jdk-headless", "maven"],
            sources=["proto/rendezvous", "sdk-java", "examples/credit/java", "examples/any-language/java"],
            outputs=["sdk-java/probe/target/rendezvous-probe.jar", "examples/credit/java/target/credit-forest.jar"],
            build=["toolchains/build_java.sh"],
            is_cached=False,  # a build also installs into Maven's local repository, which all clones share
            test=["mvn", "-q", "-B", "-ntp", "-f", "sdk-java/pom.xml", "-P", "examples", "verify"],
        ),
        Language(
            name="r",
            title="R",
            tools=[
                Tool(command=["R", "--version"], least=(4, 2)),
                Tool(command=["g++", "--version"]),
                Tool(command=["protoc", "--version"]),
                Tool(command=["grpc_cpp_plugin", "--help"]),
                Tool(command=["pkg-config", "--version"]),
            ],
            packages=[
                "r-base-core",
                *(f"r-cran-{name}" for name in _R_PACKAGES),
                "g++",
                "make",
                "pkg-config",
                "libnats-dev",
                "libgrpc++-dev",
                "libprotobuf-dev",
                "protobuf-compiler",
                "protobuf-compiler-grpc",
            ],
            probes=[
                Path("/usr/include/nats/nats.h"),
                Path("/usr/include/grpcpp/grpcpp.h"),
                Path("/usr/lib/R/site-library/Rcpp"),
                Path("/usr/lib/R/site-library/bit64"),
                Path("/usr/lib/R/site-library/testthat"),
            ],
            sources=["proto/rendezvous", "sdk-r"],
            outputs=[".tools/r-library/rendezvous"],
            build=["sdk-r/install.sh", ".tools/r-library"],
            test=["sdk-r/test.sh"],
            environment={"R_LIBS": str(R_LIBRARY)},
        ),
        _any_language(
            "go",
            "Go",
            tools=[
                Tool(command=["go", "version"], least=(1, 23), otherwise="install Go 1.23 or newer from its makers")
            ],
            packages=["golang-go", "protobuf-compiler"],
        ),
        _any_language(
            "node",
            "TypeScript",
            tools=[
                Tool(command=["node", "--version"], least=(18,)),
                Tool(command=["npm", "--version"]),
                Tool(command=["protoc", "--version"]),
            ],
            packages=["nodejs", "npm", "protobuf-compiler"],
        ),
        _any_language(
            "cpp",
            "C++",
            tools=[
                Tool(command=["g++", "--version"]),
                Tool(command=["protoc", "--version"]),
                Tool(command=["grpc_cpp_plugin", "--help"]),
                Tool(command=["pkg-config", "--version"]),
            ],
            packages=[
                "g++",
                "pkg-config",
                "libgrpc++-dev",
                "libprotobuf-dev",
                "protobuf-compiler",
                "protobuf-compiler-grpc",
            ],
        ),
        _any_language(
            "rust",
            "Rust",
            tools=[
                Tool(
                    command=["cargo", "--version"], least=(1, 88), otherwise="where that is older: Rust 1.88 by rustup"
                ),
                Tool(command=["protoc", "--version"]),
            ],
            packages=["rustc-web", "cargo-web", "protobuf-compiler"],
        ),
    )
}
