//! What one source has beside a file, made into evidence: with the transparency log's help where that is needed.

use url::Url;

use super::{
    Evidence, SignatureProblem, Vouched, Wrong, keyless, material,
    obtain::{PATIENCE, Reach, Signatures},
    rekor::{Rekor, Sought},
};
use crate::{
    config::Site,
    fetch::{Problem, subject::redacted},
    model::{Digest, Scheme, Signer},
};

impl Signatures {
    /// Asks one source for a signature by this signer.
    pub(super) async fn ask(
        &self,
        source: &Site,
        signer: &Signer,
        digest: &Digest,
        reach: &impl Reach,
    ) -> Result<Vouched, SignatureProblem> {
        let vouch = |evidence: Evidence, from: &Site| {
            let vouched = self.authority().and_then(|authority| evidence.vouch(signer, &authority, digest));
            vouched.map_err(|wrong| SignatureProblem::Wrong { from: redacted(&from.url), wrong })
        };
        let suffix = Evidence::suffix(signer.scheme());
        let site = beside(source, suffix);
        let Signer::Keyless { identity, issuer } = signer else {
            let content = found(reach, &site).await?.ok_or_else(|| SignatureProblem::Absent(suffix.to_owned()))?;
            return vouch(Evidence::new(signer.scheme(), content), &site);
        };
        let (signature_site, certificate_site) = (beside(source, ".sig"), beside(source, ".cert"));
        let (bundle, signature, certificate) =
            tokio::join!(found(reach, &site), found(reach, &signature_site), found(reach, &certificate_site));
        let pair = match (signature, certificate) {
            (Ok(Some(signature)), Ok(Some(certificate))) => Ok(Some((signature, certificate))),
            (Err(problem), _) | (_, Err(problem)) => Err(problem),
            _ => Ok(None),
        };
        if let Ok(Some(content)) = &bundle {
            let vouched = vouch(Evidence::new(Scheme::Keyless, content.clone()), &site);
            // A publisher may put there what is not about the file alone, such as an attestation.
            if vouched.is_ok() || !matches!(pair, Ok(Some(_))) {
                return vouched;
            }
        }
        let Some((signature, certificate)) = pair? else {
            bundle?;
            return Err(SignatureProblem::Absent(format!("{suffix}, .sig and .cert")));
        };
        let wrong = |wrong| SignatureProblem::Wrong { from: redacted(&signature_site.url), wrong };
        let signature = material::signature(&signature).map_err(wrong)?;
        let (pem, certificate) = material::certificate(&certificate).map_err(wrong)?;
        keyless::belongs(&certificate, &signature, digest, (identity, issuer)).map_err(wrong)?;
        let unreachable = |problem: Problem| unreachable(&self.rekor, &problem);
        let rekor =
            Rekor { client: reach.client().await.map_err(unreachable)?, url: &self.rekor, limit: self.stall.min(PATIENCE) };
        let sought = Sought { digest, signature: &signature, pem: &pem, certificate: &certificate };
        let entry = rekor.find(&sought).await?;
        let bundle = material::assemble(digest, signature, certificate, &entry).map_err(wrong)?;
        let json = bundle.to_json().map_err(|error| wrong(Wrong::Unsupported(error.to_string())))?;
        vouch(Evidence::new(Scheme::Keyless, json.into_bytes()), &signature_site)
    }
}

/// What lies beside a file under its name and a suffix.
fn beside(source: &Site, suffix: &str) -> Site {
    let mut site = source.clone();
    site.url.set_path(&format!("{}{suffix}", source.url.path()));
    site
}

/// A small file that need not be there.
async fn found(reach: &impl Reach, site: &Site) -> Result<Option<Vec<u8>>, SignatureProblem> {
    match reach.nearby(site, material::LIMIT).await {
        Ok(content) => Ok(Some(content)),
        Err(Problem::Status { code: 403 | 404 | 410, .. }) => Ok(None),
        Err(Problem::Source(error)) if error.is_absent() => Ok(None),
        Err(problem) => Err(unreachable(&site.url, &problem)),
    }
}

fn unreachable(url: &Url, problem: &Problem) -> SignatureProblem {
    SignatureProblem::Unreachable { url: redacted(url), found: problem.to_string(), transient: problem.is_transient() }
}

pub(super) fn too_slow(source: &Site) -> SignatureProblem {
    let found = format!("no answer within {} s", PATIENCE.as_secs());
    SignatureProblem::Unreachable { url: redacted(&source.url), found, transient: true }
}
