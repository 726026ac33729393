//! Who somebody is: for peers that do not have it in their list, because it joins the cluster only now.

use super::codec::{Reader, put_ip, put_list, put_place, put_text};
use crate::{
    config::Role,
    mesh::{requirement::Node, wire::Refused},
    model::NodeAddress,
};

const ROLES: [Role; 2] = [Role::Worker, Role::ControlPlane];

impl Node {
    pub(super) fn put(&self, to: &mut Vec<u8>) {
        put_text(to, self.name.as_str());
        put_place(to, &ROLES, &self.role);
        put_list(to, &self.addresses[..self.addresses.len().min(2)], |to, address| put_ip(to, address.ip()));
    }

    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, Refused> {
        let name = from.text()?.parse().map_err(|_| Refused::Malformed)?;
        let role = from.one_of(ROLES)?;
        let addresses: Vec<NodeAddress> =
            from.list(|from| NodeAddress::try_from(from.ip()?).map_err(|_| Refused::Malformed))?;
        let right = match addresses.as_slice() {
            [_] => true,
            [one, other] => one.ip().is_ipv4() != other.ip().is_ipv4(),
            _ => false,
        };
        if right { Ok(Self { name, addresses, role }) } else { Err(Refused::Malformed) }
    }
}
