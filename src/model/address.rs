//! Addresses, networks and ports.

use std::{fmt, net::IpAddr, num::NonZeroU16, str::FromStr};

use super::{Invalid, serde_as_text};

/// An address that a node can be reached at: not loopback, unspecified, multicast or link-local, since the kubelet logs
/// and ignores such a `--node-ip` (facts: kubelet, validated first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress(IpAddr);

impl NodeAddress {
    /// The address.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.0
    }
}

impl TryFrom<IpAddr> for NodeAddress {
    type Error = Invalid;

    fn try_from(ip: IpAddr) -> Result<Self, Invalid> {
        let link_local = match ip {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
        };
        if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local {
            return Err(Invalid::new(
                ip.to_string(),
                "an address other nodes can reach (not loopback, unspecified, multicast, link-local or IPv4-mapped)",
            ));
        }
        Ok(Self(ip))
    }
}

impl FromStr for NodeAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse::<IpAddr>().map_err(|_| Invalid::new(text, "an IP address such as 10.0.1.7 or fd00::7"))?.try_into()
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

serde_as_text!(NodeAddress, "an IP address that other nodes can reach");

/// A network in CIDR notation whose host bits are zero: `10.244.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    base: IpAddr,
    length: u8,
}

impl Cidr {
    /// A network by its first address and the length of its prefix.
    pub fn new(base: IpAddr, length: u8) -> Result<Self, Invalid> {
        format!("{base}/{length}").parse()
    }

    /// The network of an address that is written with the length of its prefix: of `10.244.7.1/24` it is `10.244.7.0/24`.
    #[must_use]
    pub fn around(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
        (length <= if address.is_ipv4() { 32 } else { 128 }).then(|| Self { base: mask(address, length), length })
    }

    /// The first address.
    #[must_use]
    pub const fn base(self) -> IpAddr {
        self.base
    }

    /// The last address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        let fixed = u32::from(self.length);
        match self.base {
            IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() | u32::MAX.checked_shr(fixed).unwrap_or(0)).into()),
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() | u128::MAX.checked_shr(fixed).unwrap_or(0)).into()),
        }
    }

    /// The number of leading bits that are fixed: 0 to 32, or 0 to 128.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Whether the address lies in the network. An address of the other family never does.
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        self.base.is_ipv4() == ip.is_ipv4() && mask(ip, self.length) == self.base
    }

    /// Whether the two networks share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
}

fn mask(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new(text, "a network such as 10.244.0.0/16");
        let (base, length) = text.split_once('/').ok_or_else(invalid)?;
        let base: IpAddr = base.parse().map_err(|_| invalid())?;
        if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let length: u8 = length.parse().map_err(|_| invalid())?;
        if length > if base.is_ipv4() { 32 } else { 128 } {
            return Err(invalid());
        }
        let network = mask(base, length);
        if network != base {
            return Err(Invalid::new(
                text,
                format!("a network: its host bits are set; {network}/{length} is the network it lies in"),
            ));
        }
        Ok(Self { base, length })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.length)
    }
}

serde_as_text!(Cidr, "a network in CIDR notation, such as 10.244.0.0/16");

/// A port number, 1 to 65535.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    /// A port that is known while compiling; zero does not compile.
    ///
    /// # Panics
    /// When `number` is zero; in a constant that is a compile error.
    #[must_use]
    pub const fn known(number: u16) -> Self {
        match NonZeroU16::new(number) {
            Some(number) => Self(number),
            None => panic!("a port is not zero"),
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A transport protocol.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks_with_host_bits_are_refused_with_the_network_meant() {
        let error = "10.244.1.0/16".parse::<Cidr>().unwrap_err().to_string();
        assert!(error.contains("10.244.0.0/16"), "{error}");
        for bad in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8", "::/129", "/8", "10.0.0.0/"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_overlap_when_one_contains_the_other() {
        let cidr = |text: &str| text.parse::<Cidr>().unwrap();
        assert!(cidr("10.0.0.0/8").overlaps(cidr("10.244.0.0/16")));
        assert!(cidr("10.244.0.0/16").overlaps(cidr("0.0.0.0/0")));
        assert!(!cidr("10.244.0.0/16").overlaps(cidr("10.96.0.0/12")));
        assert!(!cidr("::/0").overlaps(cidr("0.0.0.0/0")));
    }

    #[test]
    fn addresses_that_no_other_node_can_reach_are_refused() {
        for bad in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "169.254.1.1", "::1", "fe80::1", "::ffff:10.0.0.1", "x"] {
            assert!(bad.parse::<NodeAddress>().is_err(), "{bad}");
        }
        assert!("10.0.1.7".parse::<NodeAddress>().is_ok() && "fd00::7".parse::<NodeAddress>().is_ok());
    }

    proptest! {
        #[test]
        fn a_network_contains_exactly_the_addresses_with_its_prefix(bits: u32, length in 0u8..=32, other: u32) {
            let base = mask(IpAddr::V4(bits.into()), length);
            let cidr: Cidr = format!("{base}/{length}").parse().unwrap();
            let same = length == 0 || (bits ^ other) >> (32 - u32::from(length)) == 0;
            prop_assert_eq!(cidr.contains(IpAddr::V4(other.into())), same);
            prop_assert!(cidr.contains(cidr.last()));
            let after = match cidr.last() { IpAddr::V4(last) => last.to_bits().checked_add(1), IpAddr::V6(_) => None };
            prop_assert!(after.is_none_or(|after| !cidr.contains(IpAddr::V4(after.into()))));
        }
    }
}
