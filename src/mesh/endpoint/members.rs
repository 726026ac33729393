//! Who is answered: the peers that are listed, and, where the list may lag behind, newcomers that introduce themselves.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use crate::mesh::{
    key::{Key, NodeId},
    requirement::Node,
};

/// So many newcomers are known at once; of more, the one that came first is forgotten.
pub(super) const MOST_NEWCOMERS: usize = 256;

/// A peer's place among the members.
pub(super) type Index = usize;

/// The members by name and address.
#[derive(Debug)]
pub(in crate::mesh) struct Members {
    all: RwLock<All>,
    listed: usize,
    /// Whether newcomers are let in.
    pub(super) open: bool,
}

#[derive(Debug, Default)]
struct All {
    nodes: Vec<Arc<Node>>,
    by_id: HashMap<NodeId, Index>,
    by_address: HashMap<IpAddr, Index>,
    came: usize,
}

impl Members {
    pub(super) fn new(peers: &[Node], key: &Key, open: bool) -> Self {
        let mut all = All::default();
        for peer in peers {
            all.put(all.nodes.len(), Arc::new(peer.clone()), key.id(&peer.name));
        }
        Self { all: RwLock::new(all), listed: peers.len(), open }
    }

    fn read(&self) -> RwLockReadGuard<'_, All> {
        // What is in it is whole after every statement.
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there can be.
    pub(super) const fn most(&self) -> usize {
        self.listed + if self.open { MOST_NEWCOMERS } else { 0 }
    }

    pub(super) fn node(&self, index: Index) -> Option<Arc<Node>> {
        self.read().nodes.get(index).cloned()
    }

    pub(super) fn of(&self, id: NodeId) -> Option<Index> {
        self.read().by_id.get(&id).copied()
    }

    pub(super) fn at(&self, ip: IpAddr) -> Option<Index> {
        self.read().by_address.get(&ip).copied()
    }

    /// Lets a newcomer in, or believes what it now says of itself; none where an address is another one's, or where
    /// nobody is let in.
    pub(super) fn admit(&self, node: &Node, id: NodeId) -> Option<Index> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let known = all.by_id.get(&id).copied();
        if known.is_some_and(|index| index < self.listed) {
            return known;
        }
        let foreign = |ip| all.by_address.get(&ip).is_some_and(|index| Some(*index) != known);
        if !self.open || node.addresses.iter().any(|address| foreign(address.ip())) {
            return None;
        }
        let index = known.unwrap_or_else(|| {
            all.came += 1;
            self.listed + (all.came - 1) % MOST_NEWCOMERS
        });
        all.put(index, Arc::new(node.clone()), id);
        Some(index)
    }
}

impl All {
    fn put(&mut self, index: Index, node: Arc<Node>, id: NodeId) {
        self.by_id.retain(|_, other| *other != index);
        self.by_address.retain(|_, other| *other != index);
        self.by_id.insert(id, index);
        self.by_address.extend(node.addresses.iter().map(|address| (address.ip(), index)));
        match self.nodes.get_mut(index) {
            Some(place) => *place = node,
            None => self.nodes.push(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;

    fn node(name: &str, address: &str) -> Node {
        Node { name: name.parse().unwrap(), addresses: vec![address.parse().unwrap()], role: Role::Worker }
    }

    #[test]
    fn newcomers_are_let_in_only_where_the_list_may_lag_behind_and_never_under_anothers_address() {
        let key = Key::new(b"a key of more than sixteen bytes", "kubernetes").unwrap();
        let peers = [node("a", "10.0.0.1")];
        let id = |node: &Node| key.id(&node.name);
        let closed = Members::new(&peers, &key, false);
        let newcomer = node("b", "10.0.0.2");
        assert_eq!(closed.admit(&newcomer, id(&newcomer)), None);
        let open = Members::new(&peers, &key, true);
        assert_eq!(open.admit(&node("b", "10.0.0.1"), id(&newcomer)), None);
        assert_eq!(open.admit(&newcomer, id(&newcomer)), Some(1));
        // It was reinstalled with another address; and a listed one stays what the list says.
        let moved = node("b", "10.0.0.3");
        assert_eq!(open.admit(&moved, id(&moved)), Some(1));
        assert_eq!((open.at("10.0.0.2".parse().unwrap()), open.at("10.0.0.3".parse().unwrap())), (None, Some(1)));
        let listed = node("a", "10.0.0.9");
        assert_eq!((open.admit(&listed, id(&listed)), open.at("10.0.0.9".parse().unwrap())), (Some(0), None));
    }

    #[test]
    fn there_are_never_more_newcomers_than_are_allowed() {
        let key = Key::new(b"a key of more than sixteen bytes", "kubernetes").unwrap();
        let members = Members::new(&[], &key, true);
        for n in 0..MOST_NEWCOMERS * 2 + 7 {
            let node = node(&format!("n{n}"), &format!("10.1.{}.{}", n / 250, n % 250 + 1));
            assert!(members.admit(&node, key.id(&node.name)).is_some_and(|index| index < members.most()));
        }
        let all = members.read();
        assert_eq!((all.nodes.len(), all.by_id.len(), all.by_address.len()), (MOST_NEWCOMERS, MOST_NEWCOMERS, MOST_NEWCOMERS));
    }
}
