//! Kubernetes' quantities, as far as the kubelet's configuration is held against them.

/// A share of 0% to 100%, or a quantity above 0.
pub(super) fn is_threshold(text: &str) -> bool {
    match text.strip_suffix('%') {
        Some(share) => share.parse::<f64>().is_ok_and(|share| (0.0..=100.0).contains(&share)),
        None => quantity_sign(text).is_some_and(|sign| sign > 0),
    }
}

/// The sign of one of Kubernetes' quantities; none where it is not one. Source: apimachinery, resource.ParseQuantity.
pub(super) fn quantity_sign(text: &str) -> Option<i8> {
    const SUFFIXES: [&str; 16] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|power| power.parse::<i16>().is_ok());
    if number.starts_with('.') && number.len() == 1 || !(SUFFIXES.contains(&suffix) || exponent) {
        return None;
    }
    let value: f64 = number.parse().ok()?;
    Some(match () {
        () if value == 0.0 => 0,
        () if negative => -1,
        () => 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, sign) in [("1", 1), ("500m", 1), ("1.5Gi", 1), ("0", 0), ("-1Mi", -1), ("1e3", 1), (".5", 1), ("2E", 1)] {
            assert_eq!(quantity_sign(text), Some(sign), "{text}");
        }
        for text in ["", "1 Gi", "1GiB", "abc", ".", "1ee3", "50%", "1mi"] {
            assert_eq!(quantity_sign(text), None, "{text}");
        }
    }

    #[test]
    fn thresholds_are_shares_or_quantities_above_zero() {
        assert!(["10%", "0%", "100%", "7.5%", "100Mi"].into_iter().all(is_threshold));
        assert!(!["101%", "-1%", "0", "-5Mi", "%", ""].into_iter().any(is_threshold));
    }
}
