//! Values that must not be seen in logs, plans or JSON.

use std::fmt;

/// Holds a credential. It has no `Serialize` and its `Debug` shows nothing; `expose` is the one way out, so that a
/// search for it finds every use.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a credential.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The credential itself, for writing it where it belongs.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_secret_is_not_seen_when_it_is_printed() {
        assert_eq!(format!("{:?}", super::Secret::new("abcdef.0123456789abcdef")), "[secret]");
    }
}
