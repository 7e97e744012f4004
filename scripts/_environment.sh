# Sourced by scripts/demo and scripts/test: goes to the repository's top folder and defines
# prepare_environment, which makes and fills the Python environment. Afterwards $python runs in it.
#
# A start that finds everything in place installs nothing. An install that was cut short, even by
# power loss, is put right by the next start: see repair_environment.

caller_directory=$PWD
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null

environment=${RARL_VENV:-$PWD/.venv}
[[ $environment == /* ]] || environment=$caller_directory/$environment
python=$environment/bin/python
cpu_index=https://download.pytorch.org/whl/cpu

say() {
  printf '%s\n' "$*"
}

stop() {
  printf '%s\n' "$*" >&2
  exit 1
}

# A command that exists may still not run (a pyenv shim without its Python), so each is tried.
fits() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
  local candidate without_venv=
  for candidate in ${RARL_PYTHON:+"$RARL_PYTHON"} python3.11 python3.12 python3.13 python3; do
    if ! fits "$candidate"; then
      [[ $candidate != "${RARL_PYTHON:-}" ]] ||
        say "RARL_PYTHON ($candidate) does not run as Python 3.11 to 3.13; looking for another." >&2
    elif ! "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      without_venv=${without_venv:-$candidate}
    else
      printf '%s\n' "$candidate"
      return
    fi
  done
  [[ -z $without_venv ]] ||
    stop "$without_venv has no venv module: install it (Debian, Ubuntu: apt install python3-venv)."
  stop "Install Python 3.11, 3.12 or 3.13, or set RARL_PYTHON to where it is."
}

make_environment() {
  local base
  if [[ -e $environment/pyvenv.cfg ]]; then
    if "$python" -c '' 2>/dev/null; then
      fits "$python" || stop "$environment is not Python 3.11 to 3.13: remove it, or set RARL_VENV."
      return
    fi
    say "The Python of $environment is gone; making it anew."
  elif [[ -n $(ls -A "$environment" 2>/dev/null) ]]; then
    stop "$environment is not a Python environment: remove it, or set RARL_VENV to another folder."
  fi
  base=$(find_python)
  say "Making $environment with $("$base" --version)"
  "$base" -m venv --clear "$environment" ||
    stop "That failed: remove $environment, see that its disk has room, and start again."
}

# pip takes a package whose files stand half there for an installed one. So each package is held
# against its own list of files, and one that does not match is struck off, to be installed again.
repair_environment() {
  "$python" - <<'PYTHON'
import csv
import shutil
import sysconfig
from pathlib import Path

import ensurepip


def is_complete(site: Path, info: Path) -> bool:
    try:
        rows = list(csv.reader((info / "RECORD").read_text("utf-8").splitlines()))
        return all((site / row[0]).stat().st_size == int(row[2]) for row in rows if row[2])
    except (OSError, IndexError, ValueError):
        return False


for site in {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}:
    for left_over in site.glob("~*"):
        shutil.rmtree(left_over, ignore_errors=True)
    for info in site.glob("*.dist-info"):
        if not is_complete(site, info):
            print(f"Repairing {info.name.removesuffix('.dist-info')}", flush=True)
            shutil.rmtree(info)
    if not any(site.glob("pip-*.dist-info")):
        ensurepip.bootstrap()
PYTHON
}

# Shows what takes long and what went wrong; the rest goes to the log.
pip_install() {
  local line package version
  "$python" -m pip install --disable-pip-version-check --no-input --prefer-binary \
    --progress-bar off "$@" 2>&1 |
    while IFS= read -r line; do
      printf '%s\n' "$line" >>"$environment/setup.log"
      case $line in
        *"Downloading "*" MB)" | *"Downloading "*" GB)")
          IFS=- read -r package version _ <<<"${line##*/}"
          say "  ${package##* } $version (${line##*(}"
          ;;
        "Installing collected packages:"*) say "  all downloaded; putting them in place" ;;
        ERROR:*) say "$line" >&2 ;;
      esac
    done
}

offers() { # VERSION [pip options]: whether pip would find this version of PyTorch
  local version=$1
  shift
  "$python" -m pip index versions torch --disable-pip-version-check --no-input "$@" 2>/dev/null |
    grep '^Available versions:' | tr -d ',' | tr ' ' '\n' | grep -Fx -- "$version" >/dev/null
}

# The package index's PyTorch for Linux needs gigabytes of CUDA. Without an NVIDIA GPU the CPU build
# is taken: from where pip is configured to look, else from PyTorch's own index. It has the same
# version but other hashes for every place it comes from, so it is the one package without a hash.
install_cpu_torch() { # fails where the CPU build is not wanted or not to be had
  local version
  version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' requirements-torch.lock)+cpu
  [[ $(uname -s) == Linux ]] || return 1
  [[ $(nvidia-smi -L 2>/dev/null || true) != *GPU* ]] || return 1
  if offers "$version"; then
    say "Installing PyTorch $version"
    pip_install --no-deps "torch==$version" && return 0
  elif offers "$version" --index-url "$cpu_index" --timeout 5 --retries 0; then
    say "Installing PyTorch $version from $cpu_index"
    pip_install --no-deps "torch==$version" --index-url "$cpu_index" && return 0
  fi
  say "No CPU build of PyTorch is in reach; taking the general one, several gigabytes."
  return 1
}

# Installs exactly the files whose hashes the lock files list.
install_locked() { # FILE...
  local file files=()
  for file in "$@"; do files+=(-r "$file"); done
  pip_install --no-deps --require-hashes "${files[@]}"
}

install_torch() {
  local wanted installed
  wanted=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' requirements-torch.lock)
  installed=$("$python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null) || true
  case $installed in
    "$wanted"+*) ;; # a build of PyTorch's own index
    "$wanted") install_locked requirements-torch.lock ;;
    *) install_cpu_torch || install_locked requirements-torch.lock ;;
  esac
}

# What a lock file asks of this Python. It is kept in the environment once installed.
wish() {
  "$python" -VV
  cat requirements-torch.lock "$1"
}

prepare_environment() { # FILE...: lock files, in the repository's top folder
  local file pending=
  make_environment
  for file in "$@"; do
    wish "$file" | cmp -s - "$environment/installed-$file" || pending+=" $file"
  done
  [[ -n $pending ]] || return 0
  SECONDS=0
  say "Installing$pending (some minutes the first time; later starts skip this)"
  for file in "$@"; do rm -f "$environment/installed-$file"; done
  : >"$environment/setup.log"
  repair_environment && install_torch && install_locked "$@" ||
    stop "The set-up failed; all of pip's output is in $environment/setup.log." \
      "Check the network and that the disk has room (3 GB; with an NVIDIA GPU 10 GB)," \
      "then run the same command again."
  for file in "$@"; do wish "$file" >"$environment/installed-$file"; done
  say "Installed in $SECONDS s"
}
