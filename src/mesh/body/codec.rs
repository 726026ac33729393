//! How the parts of a body are written and read.

use std::net::IpAddr;

use super::MOST;
use crate::{mesh::wire::Refused, model::Port};

/// Takes bytes off a slice; never beyond its end.
pub(in crate::mesh) struct Reader<'b>(pub(in crate::mesh) &'b [u8]);

impl<'b> Reader<'b> {
    pub(in crate::mesh) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Refused::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(in crate::mesh) fn byte(&mut self) -> Result<u8, Refused> {
        self.array().map(|[byte]| byte)
    }

    pub(in crate::mesh) fn number(&mut self) -> Result<u16, Refused> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn port(&mut self) -> Result<Port, Refused> {
        let number = self.number()?;
        if number == 0 { Err(Refused::Malformed) } else { Ok(Port::known(number)) }
    }

    pub(super) fn ip(&mut self) -> Result<IpAddr, Refused> {
        match self.byte()? {
            4 => self.array::<4>().map(IpAddr::from),
            6 => self.array::<16>().map(IpAddr::from),
            _ => Err(Refused::Malformed),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'b str, Refused> {
        let length = self.byte()?.into();
        let (text, rest) = self.0.split_at_checked(length).ok_or(Refused::Malformed)?;
        self.0 = rest;
        str::from_utf8(text).map_err(|_| Refused::Malformed)
    }

    pub(super) fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Refused>) -> Result<Option<T>, Refused> {
        Ok(if self.one_of([false, true])? { Some(read(self)?) } else { None })
    }

    pub(super) fn list<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, Refused>) -> Result<Vec<T>, Refused> {
        let count = usize::from(self.byte()?);
        if count > MOST {
            return Err(Refused::Malformed);
        }
        (0..count).map(|_| read(self)).collect()
    }

    /// One of a few values, by its place among them.
    pub(super) fn one_of<T, const N: usize>(&mut self, values: [T; N]) -> Result<T, Refused> {
        let place = usize::from(self.byte()?);
        values.into_iter().nth(place).ok_or(Refused::Malformed)
    }
}

pub(super) fn put_place<T: PartialEq>(to: &mut Vec<u8>, values: &[T], value: &T) {
    let place = values.iter().position(|other| other == value).unwrap_or_default();
    to.push(u8::try_from(place).unwrap_or_default());
}

pub(super) fn put_port(to: &mut Vec<u8>, port: Port) {
    to.extend(port.number().to_be_bytes());
}

pub(super) fn put_ip(to: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            to.push(4);
            to.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            to.push(6);
            to.extend(v6.octets());
        }
    }
}

pub(super) fn put_optional<T>(to: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    to.push(value.is_some().into());
    if let Some(value) = value {
        put(to, value);
    }
}

/// The first entries, as many as a reader takes.
pub(super) fn put_list<T>(to: &mut Vec<u8>, values: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    let count = values.len().min(MOST);
    to.push(u8::try_from(count).unwrap_or_default());
    for value in &values[..count] {
        put(to, value);
    }
}

/// At most 255 bytes; names are shorter.
pub(super) fn put_text(to: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(255)];
    to.push(u8::try_from(bytes.len()).unwrap_or_default());
    to.extend(bytes);
}
