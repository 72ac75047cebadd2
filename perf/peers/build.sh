#!/usr/bin/env bash
# Builds the programs of one peer: build.sh PEER [BUILD], or says who there is: build.sh --list.
#
# They are BUILD/perf/peers/PEER/PROGRAM afterwards (BUILD is build/release unless told; it has to be configured).
# What a peer needs is taken from what the machine has, from crates.io (tokio) and from PyPI (uvloop). Where that can't
# be had it says "missing: " and what, and ends with 3. README.md says what each program is.
set -euo pipefail

peers=(boost_fiber asio libuv go tokio asyncio uvloop nginx)

missing() {
  echo "missing: $*" >&2
  exit 3
}

has_header() { echo "#include <$1>" | "${CXX:-g++}" -E -x c++ - >/dev/null 2>&1; }

build_cpp() {
  cmake --build "$build" --target "peer_$peer" -j "${JOBS:-$(nproc)}"
}

# The newest python3 from 3.11 on, which is when asyncio.Runner came: the system's, or one of pyenv's.
find_python() {
  local minor python
  for minor in 14 13 12 11; do
    for python in "python3.$minor" "$HOME/.pyenv/versions/3.$minor".*/bin/python3 python3; do
      if "$python" -c "import sys; sys.exit(sys.version_info[:2] != (3, $minor))" 2>/dev/null; then
        "$python" -c 'import sys; print(sys.executable)'
        return
      fi
    done
  done
  missing "python3, 3.11 or later"
}

# Scripts that start PYTHON's peer in the place where programs are.
python_programs() {
  local python=$1 program
  [[ -n $python ]] || exit 3  # find_python has said why
  for program in micro echo; do
    printf '#!/bin/sh\nexec %s %s %s "$@"\n' "$python" "$here/python/$program.py" "$peer" >"$out/$program"
    chmod +x "$out/$program"
  done
}

build_peer() {
  case $peer in
    asio)
      has_header boost/asio/awaitable.hpp || missing "Boost.Asio's headers (libboost1.81-dev)"
      build_cpp
      ;;
    boost_fiber)
      has_header boost/fiber/fiber.hpp || missing "Boost.Fiber (libboost-fiber1.81-dev)"
      build_cpp
      ;;
    libuv)
      has_header uv.h || missing "libuv (libuv1-dev)"
      build_cpp
      ;;
    go)
      local go
      go=$(command -v go || command -v /usr/local/go/bin/go) || missing "go"
      (cd "$here/go" && GOTOOLCHAIN=local "$go" build -o "$out/" ./cmd/...) || missing "a go that builds this"
      ;;
    tokio)
      command -v cargo >/dev/null || missing "cargo"
      cargo fetch --locked --target "$(rustc -vV | sed -n 's/^host: //p')" --manifest-path "$here/tokio/Cargo.toml" ||
        missing "tokio: crates.io does not answer"
      CARGO_TARGET_DIR=$out/target cargo build --release --locked --offline --manifest-path "$here/tokio/Cargo.toml" \
        -j "${JOBS:-$(nproc)}"
      find "$out/target/release" -maxdepth 1 -type f -executable -exec cp {} "$out/" \;
      ;;
    asyncio) python_programs "$(find_python)" ;;
    uvloop)
      local python
      python=$(find_python)
      [[ -x $out/venv/bin/python ]] || "$python" -m venv "$out/venv" || missing "python3-venv"
      "$out/venv/bin/pip" install -q --disable-pip-version-check -r "$here/python/requirements.txt" ||
        missing "uvloop: PyPI does not answer"
      python_programs "$out/venv/bin/python"
      ;;
    nginx)
      command -v nginx >/dev/null || missing "nginx (nginx-light)"
      install -m 755 "$here/nginx/http" "$out/http"
      ;;
    *)
      echo "build.sh: there is no $peer; there are ${peers[*]}" >&2
      exit 2
      ;;
  esac
}

if [[ ${1-} == --list ]]; then
  printf '%s\n' "${peers[@]}"
  exit
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peer=${1:?build.sh PEER [BUILD], or build.sh --list}
build=${2:-$here/../../build/release}
mkdir -p "$build/perf/peers/$peer"
build=$(cd "$build" && pwd)
out=$build/perf/peers/$peer
build_peer
