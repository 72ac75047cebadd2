"""Conan 2 recipe. ./dev conan creates the package from this tree and uses it."""

import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rmdir
from conan.tools.scm import Version

required_conan_version = ">=2.0.9"


class RovingConan(ConanFile):
    name = "roving"
    description = "A C++20 runtime for servers: one event loop per core, stackful fibers that may rove"
    license = "Apache-2.0"
    topics = ("fibers", "event-loop", "asyncio", "work-stealing", "epoll", "server", "concurrency")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {
        "shared": [True, False],
        "fPIC": [True, False],
        "with_tbb": [True, False],
        "with_simulation": [True, False],
    }
    default_options = {"shared": False, "fPIC": True, "with_tbb": True, "with_simulation": True}
    implements = ["auto_shared_fpic"]
    exports_sources = ("CMakeLists.txt", "LICENSE", "cmake/*", "scheduler/*", "sync/*", "io/*", "runtime/*")

    def set_version(self):
        text = load(self, os.path.join(self.recipe_folder, "CMakeLists.txt"))
        self.version = re.search(r"project\(roving VERSION ([\d.]+)", text).group(1)

    def layout(self):
        cmake_layout(self)

    def requirements(self):
        # Its headers are for users of <roving/asio.hpp>.
        self.requires("boost/[>=1.81 <2]", transitive_headers=True)
        if self.options.with_tbb:
            self.requires("onetbb/[>=2021.8 <2024]")

    def build_requirements(self):
        self.tool_requires("cmake/[>=3.25]")

    def validate(self):
        check_min_cppstd(self, 20)
        if self.settings.os not in ("Linux", "Macos", "FreeBSD"):
            raise ConanInvalidConfiguration(f"roving needs epoll or kqueue: {self.settings.os} has neither")
        least = {"gcc": "12", "clang": "14", "apple-clang": "15"}.get(str(self.settings.compiler))
        if least and Version(self.settings.compiler.version) < least:
            raise ConanInvalidConfiguration(f"roving needs {self.settings.compiler} {least} or newer")
        for require, dependency in self.dependencies.host.items():  # without what the system provides
            options = dependency.options
            if require.ref.name == "boost" and (options.get_safe("header_only") or options.get_safe("without_context")):
                raise ConanInvalidConfiguration("roving needs Boost.Context: boost/*:header_only=False and "
                                                "boost/*:without_context=False")

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["ROVING_BUILD_TESTS"] = False
        toolchain.cache_variables["ROVING_BUILD_EXAMPLES"] = False
        toolchain.cache_variables["ROVING_BUILD_PERF"] = False
        toolchain.cache_variables["ROVING_WERROR"] = False
        toolchain.cache_variables["ROVING_WITH_TBB"] = bool(self.options.with_tbb)
        toolchain.cache_variables["ROVING_BUILD_SIMULATION"] = bool(self.options.with_simulation)
        toolchain.generate()
        CMakeDeps(self).generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        rmdir(self, os.path.join(self.package_folder, "share"))

    def package_info(self):
        # The package's own CMake config is the one that is found, as with an installation without Conan.
        self.cpp_info.set_property("cmake_find_mode", "none")
        roving = self.cpp_info.components["roving"]
        roving.builddirs = [os.path.join("lib", "cmake", "roving")]
        roving.set_property("pkg_config_name", "roving")
        roving.libs = ["roving"]
        roving.requires = ["boost::headers", "boost::context"] + (["onetbb::onetbb"] if self.options.with_tbb else [])
        if self.settings.os in ("Linux", "FreeBSD"):
            roving.system_libs = ["pthread"]
        if self.options.with_simulation:
            sim = self.cpp_info.components["sim"]
            sim.set_property("pkg_config_name", "roving-sim")
            sim.libs = ["roving_sim"]
            sim.defines = ["ROVING_SIMULATION=1"]
            sim.requires = roving.requires
            sim.system_libs = roving.system_libs
