//! What a rule ends in: its last words, as linux/netfilter/nf_tables.h has them.

use netlink_packet_core::NlasIterator;

use super::{Message, attribute, number};

/// What becomes of a packet that a rule fits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// It is dropped or rejected.
    Refuses,
    /// Another chain decides.
    GoesTo(String),
}

/// NF_DROP, NFT_JUMP and NFT_GOTO.
const DROP: i32 = 0;
const JUMP: i32 = -3;
const GOTO: i32 = -4;

/// All ends of a rule: usually one, or none where it accepts or only counts.
pub(super) fn ends(message: &Message) -> Vec<End> {
    // NFTA_RULE_EXPRESSIONS: a list of NFTA_LIST_ELEM, each with NFTA_EXPR_NAME and NFTA_EXPR_DATA.
    let Some(expressions) = message.attribute(4) else { return Vec::new() };
    let expressions = NlasIterator::new(expressions.as_slice()).map_while(Result::ok);
    expressions.filter_map(|expression| end(expression.value())).collect()
}

fn end(expression: &[u8]) -> Option<End> {
    let name = attribute(expression, 1)?;
    let data = attribute(expression, 2).unwrap_or_default();
    match name.strip_suffix(&[0]).unwrap_or(&name) {
        b"reject" => Some(End::Refuses),
        // An extension of iptables' (NFTA_TARGET_NAME).
        b"target" => {
            let target = attribute(data, 1)?;
            matches!(target.strip_suffix(&[0]).unwrap_or(&target), b"REJECT" | b"DROP").then_some(End::Refuses)
        }
        // NFTA_IMMEDIATE_DATA, in it NFTA_DATA_VERDICT, in it NFTA_VERDICT_CODE and _CHAIN.
        b"immediate" => {
            let verdict = attribute(attribute(data, 2)?, 2)?;
            match number(&attribute(&verdict, 1)?)?.cast_signed() {
                DROP => Some(End::Refuses),
                JUMP | GOTO => {
                    let chain = attribute(&verdict, 2)?;
                    Some(End::GoesTo(String::from_utf8_lossy(chain.strip_suffix(&[0]).unwrap_or(&chain)).into_owned()))
                }
                _ => None,
            }
        }
        _ => None,
    }
}
