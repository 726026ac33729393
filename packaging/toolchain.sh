# Sourced: finds the Rust toolchain, also that of the user who called sudo.
if ! command -v cargo >/dev/null; then
    for home in "${HOME:-/root}" "$([ -z "${SUDO_USER-}" ] || getent passwd "$SUDO_USER" | cut -d: -f6)"; do
        if [ -x "$home/.cargo/bin/cargo" ]; then
            export PATH="$PATH:$home/.cargo/bin" RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
            break
        fi
    done
fi
if ! command -v cargo >/dev/null; then
    echo "cargo is missing: hostlet is built with Rust 1.95 or newer, see https://rustup.rs" >&2
    exit 1
fi
