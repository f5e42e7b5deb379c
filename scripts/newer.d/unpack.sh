# shellcheck shell=bash
# Sourced by scripts/newer-*: packages of another release of the Debian that runs here, unpacked and not installed.

name=$(basename "$0")

fail() {
  echo "$name: $*" >&2
  exit 1
}

# version_reached MINIMUM VERSION: whether a version is no older than another.
version_reached() {
  [[ $2 =~ ^[0-9]+\.[0-9]+ ]] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# The name of the release that runs here.
codename() {
  # shellcheck source=/dev/null
  (. /etc/os-release && echo "${VERSION_CODENAME:-}")
}

# unpack FOLDER RELEASE PACKAGE...: unpacks packages of a release into a new folder, from where apt of this machine gets
# its own.
unpack() {
  local folder=$1 release=$2 here repository keyring signed='' options package
  shift 2
  command -v apt-get >/dev/null || fail "there is no apt to fetch $* with"
  here=$(codename)
  # shellcheck disable=SC2016 # apt fills it in
  repository=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sed -nE "s/^([^ ]+) $here main\$/\1/p" | head -n 1)
  [ -n "$repository" ] || fail "apt of this machine has no source for the main packages of $here"
  mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial"
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [ ! -e "$keyring" ] || signed="[signed-by=$keyring] "
  echo "deb $signed$repository $release main" >"$folder/apt/sources.list"
  # With no packages installed none is too new.
  : >"$folder/apt/status"
  options=(
    -q -o "Dir::Etc::sourcelist=$folder/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$folder/apt/lists" -o "Dir::State::status=$folder/apt/status"
    -o "Dir::Cache=$folder/apt" -o APT::Sandbox::User=
  )
  apt-get "${options[@]}" update >&2 || fail "cannot read the list of the packages of $release"
  (cd "$folder/apt" && apt-get "${options[@]}" download "$@" >&2) || fail "cannot fetch $*"
  for package in "$folder"/apt/*.deb; do dpkg-deb -x "$package" "$folder"; done
  rm -rf "$folder/apt"
}
