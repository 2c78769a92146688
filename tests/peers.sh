#!/usr/bin/env bash
# Install the real peers that the system tests talk to: DCMTK's tools and Orthanc with its DICOMweb plugin.
#
# The tests start their own servers on loopback ports; the packages' own services must never run. Where nothing may
# be installed, this says which tests will be skipped and succeeds; with CI=true a missing peer is a failure.
set -euo pipefail

readonly packages=(dcmtk orthanc orthanc-dicomweb)
readonly apt_options=(-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)

orthanc_is_here() {
    # Debian puts the server into sbin, which is not on everybody's PATH.
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v Orthanc >/dev/null
}

missing_peers() {
    # Not storescu: the virtual environment has a script of that name which is pynetdicom's.
    command -v dcmsend >/dev/null || echo dcmtk
    orthanc_is_here || echo orthanc
    compgen -G '/usr/share/orthanc/plugins/libOrthancDicomWeb.so*' >/dev/null || echo orthanc-dicomweb
}

as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    else
        sudo --non-interactive "$@"
    fi
}

may_install() {
    command -v apt-get >/dev/null || return 1
    [[ $(id -u) == 0 ]] || sudo --non-interactive true 2>/dev/null
}

# Debian asks policy-rc.d before a package may start its service. A policy that is there already is the machine
# owner's and is left alone: the service is in any case switched off after the installation.
forbid_services() {
    policy=/usr/sbin/policy-rc.d
    [[ -e $policy ]] && return
    # 101 is the policy's word for "action forbidden".
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    trap 'as_root rm -f "$policy"' EXIT
}

keep_service_off() {
    if [[ -d /run/systemd/system ]]; then
        as_root systemctl disable --now --quiet orthanc.service || true
    elif [[ -x /etc/init.d/orthanc ]]; then
        as_root update-rc.d orthanc disable || true
        as_root service orthanc stop >/dev/null 2>&1 || true
    fi
}

install_peers() {
    local log brings_orthanc=false
    log=$(mktemp)
    # An Orthanc that was here before is somebody's own: only the service that comes with this installation is ours
    # to switch off.
    orthanc_is_here || brings_orthanc=true
    forbid_services
    echo "peers: installing ${packages[*]}"
    # What apt says is only of interest when it fails.
    if ! { as_root apt-get "${apt_options[@]}" update \
        && as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get "${apt_options[@]}" install --yes --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
        echo "peers: the installation failed; apt's last words:" >&2
        tail -n 15 "$log" >&2
    fi
    rm -f "$log"
    [[ $brings_orthanc == false ]] || keep_service_off
}

if [[ -n $(missing_peers) ]] && may_install; then
    install_peers
fi

mapfile -t missing < <(missing_peers)
if ((${#missing[@]} == 0)); then
    echo "peers: DCMTK and Orthanc with DICOMweb are here"
elif [[ ${CI:-} == true ]]; then
    echo "peers: missing ${missing[*]}. CI must test against the real peers; install them: apt-get install ${packages[*]}" >&2
    exit 1
else
    echo "peers: missing ${missing[*]}. The tests that talk to them will be skipped, each with its reason."
    echo "peers: to run them: apt-get install ${packages[*]}"
fi
