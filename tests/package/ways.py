#!/usr/bin/env python3
"""Tested: the ways to take the library that docs/install.md names, each from an empty folder as a user would.

    ways.py SOURCE WORK     SOURCE: the project; WORK: a folder for all of it, emptied first

One is built without oneTBB. The shared library exports what public headers declare and nothing else. Public headers
reach no header of Boost or oneTBB, but for <roving/asio.hpp>.

Ways: an installation, static and shared, moved to another place before it is used, by CMake and by pkg-config;
add_subdirectory; FetchContent. Each builds a program that runs a server and a client, and runs it. Ends with
`N passed, M failed`.
"""

import pathlib
import re
import shutil
import subprocess
import sys

PROGRAM = "test_package/test_package.cpp"

BY_PACKAGE = """cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES CXX)
find_package(roving 0.1 REQUIRED)
add_executable(user {program})
target_link_libraries(user PRIVATE roving::roving)
"""
BY_SUBDIRECTORY = """cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES CXX)
add_subdirectory({source} roving)
add_executable(user {program})
target_link_libraries(user PRIVATE roving::roving)
"""
BY_FETCH = """cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES CXX)
include(FetchContent)
FetchContent_Declare(roving GIT_REPOSITORY file://{source} GIT_TAG HEAD)
FetchContent_MakeAvailable(roving)
add_executable(user {program})
target_link_libraries(user PRIVATE roving::roving)
"""


# Whatever namespace roving declares, what the compiler makes for that, and std::hash of an endpoint. No template of the
# standard library, nothing of Boost and oneTBB.
EXPORTED = re.compile(r"_Z(N[KRO]*|T[ISVT]N|T[hv]\w+_N[KRO]*|Z|GVZ?N?[KRO]*N|NKSt4hashIN)6roving")
# Of these public headers know the names at most.
INTERNAL = re.compile(r"6roving6detail(5shard|9scheduler|4slab|10stack_pool|11timer_wheel|6poller|10descriptor)[CDE\d]")


def run(*command, **more):
    print("+", *command, flush=True)
    return subprocess.run([str(part) for part in command], check=True, text=True, **more)


def cmake(source, build, *options):
    launcher = ["-D", "CMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    run("cmake", "-S", source, "-B", build, "-G", "Ninja", "-D", "CMAKE_BUILD_TYPE=Release",
        "-D", "ROVING_BUILD_SIMULATION=OFF", *launcher, *options)
    run("cmake", "--build", build)


def installed(source, work, shared):
    """The prefix of an installation that was moved after it was made."""
    cmake(source, work / "build", "-D", f"BUILD_SHARED_LIBS={shared}", "-D", "ROVING_BUILD_TESTS=OFF",
          "-D", "ROVING_BUILD_EXAMPLES=OFF", "-D", "ROVING_BUILD_PERF=OFF")
    run("cmake", "--install", work / "build", "--prefix", work / "first")
    (work / "first").rename(work / "moved")
    return work / "moved"


def user_of(text, work, *options):
    work.mkdir()
    (work / "CMakeLists.txt").write_text(text)
    cmake(work, work / "build", *options)
    run(work / "build" / "user")


def by_pkgconfig(source, work, prefix, shared):
    work.mkdir()
    folder = next(prefix.rglob("roving.pc")).parent
    asked = ["pkg-config", "--cflags", "--libs", "roving"] + ([] if shared else ["--static"])
    flags = run(*asked, env={"PKG_CONFIG_PATH": str(folder), "PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE).stdout
    paths = [f"-Wl,-rpath,{folder.parent}"] if shared else []
    run("g++", "-std=c++20", source / PROGRAM, "-o", work / "user", *flags.split(), *paths)
    run(work / "user")


def check_exports(prefix):
    library = next(prefix.rglob("libroving.so*")).resolve()
    listed = run("nm", "-D", "--defined-only", "--format=posix", library, stdout=subprocess.PIPE).stdout
    exported = [line.split()[0] for line in listed.splitlines()]
    wrong = [name for name in exported if not EXPORTED.match(name) or INTERNAL.search(name)]
    typeinfo = "_ZTIN6roving9cancelledE"
    if wrong or typeinfo not in exported:
        raise OSError(f"{library} exports {wrong or f'no {typeinfo}'}")
    print(f"{library.name} exports {len(exported)} symbols, all of them roving's")


def check_headers(prefix):
    include = prefix / "include"
    headers = sorted(str(header.relative_to(include)) for header in include.rglob("*.hpp"))
    text = "".join(f"#include <{header}>\n" for header in headers if header != "roving/asio.hpp")
    reached = run("g++", "-std=c++20", "-M", "-x", "c++", "-I", include, "-", input=text, stdout=subprocess.PIPE).stdout
    others = [path for path in reached.split() if re.search(r"/(boost|tbb|oneapi)/", path)]
    if others or "roving/run.hpp" not in reached:
        raise OSError(f"public headers reach {others[:3] or 'nothing'}")
    print(f"{len(headers) - 1} public headers reach no header of Boost or oneTBB")


def main(source, work):
    source, work = pathlib.Path(source).resolve(), pathlib.Path(work).resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    program = source / PROGRAM

    def by_installation(shared):
        here = work / f"installed-{shared}"
        here.mkdir()
        prefix = installed(source, here, shared)
        user_of(BY_PACKAGE.format(program=program), here / "cmake", "-D", f"CMAKE_PREFIX_PATH={prefix}")
        by_pkgconfig(source, here / "pkgconfig", prefix, shared == "ON")
        if shared == "ON":
            check_exports(prefix)
        else:
            check_headers(prefix)

    ways = {
        "static installation, by CMake and pkg-config": lambda: by_installation("OFF"),
        "shared installation, by CMake and pkg-config": lambda: by_installation("ON"),
        "add_subdirectory, without oneTBB": lambda: user_of(BY_SUBDIRECTORY.format(source=source, program=program),
                                                            work / "sub", "-D", "ROVING_WITH_TBB=OFF"),
        "FetchContent": lambda: user_of(BY_FETCH.format(source=source, program=program), work / "fetch"),
    }
    failed = []
    for name, way in ways.items():
        print(f"\n== {name}", flush=True)
        try:
            way()
        except (subprocess.CalledProcessError, OSError, StopIteration) as error:
            print(f"failed: {error}")
            failed.append(name)
    for name in failed:
        print(f"FAILED: {name}")
    print(f"{len(ways) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    sys.exit(main(*sys.argv[1:]))
