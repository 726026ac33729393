//! Kubernetes' quantities, as far as KubeletConfiguration has them: sizes and shares of processors.

/// Bytes: `500Mi`, `1G`, `1073741824`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let unit: u64 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Thousandths of a processor: `500m`, `2`, `0.5`.
pub(super) fn thousandths(text: &str) -> Option<u64> {
    if let Some(text) = text.strip_suffix('m') {
        return text.parse().ok();
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    // Of more digits than three the rest is rounded off, which decides nothing here.
    let part: u64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_kubernetes_suffixes() {
        assert_eq!((bytes("1Gi"), bytes("500M"), bytes("7")), (Some(1 << 30), Some(500_000_000), Some(7)));
        assert_eq!((bytes(""), bytes("1Gib"), bytes("-5"), bytes("99999999999999999999")), (None, None, None, None));
    }

    #[test]
    fn processors_are_counted_in_thousandths() {
        assert_eq!((thousandths("500m"), thousandths("2"), thousandths("0.25")), (Some(500), Some(2000), Some(250)));
        assert_eq!((thousandths("x"), thousandths("1.x"), thousandths("")), (None, None, None));
    }
}
