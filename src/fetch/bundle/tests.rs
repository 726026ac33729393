use std::{
    io::{Read, Write},
    path::PathBuf,
    sync::Arc,
};

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::{manifest::NAME, *};
use crate::{
    config,
    fetch::{FetchError, SignatureProblem, Verified, Vouched, verified::Whole},
    host::files,
    model::{Architecture, Artifact, Component, Digest, DigestOrigin, Signature, SignaturePolicy},
    output::Silent,
};

const KUBELET: &[u8] = b"a kubelet";

fn artifact(component: Component, content: &[u8]) -> Artifact {
    Artifact {
        component,
        version: "1.36.4".parse().unwrap(),
        architecture: Architecture::Amd64,
        digest: Digest::of(content),
        origin: DigestOrigin::Catalog,
    }
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn verified(&self, component: Component, content: &[u8]) -> (Verified, String) {
        let (artifact, path) = (artifact(component, content), self.path(component.as_str()));
        files::write(&path, content, 0o600).unwrap();
        let whole = Whole::in_cache(&artifact, &path).unwrap().unwrap();
        let vouched = Vouched::not_asked(&SignaturePolicy::Off, &artifact.digest).unwrap();
        (Verified::new(whole, vouched).unwrap().unwrap(), "https://example.com/x".to_owned())
    }

    /// Two artifacts, the second one not of whole blocks.
    fn bundle(&self) -> Vec<u8> {
        let artifacts = [self.verified(Component::Kubelet, KUBELET), self.verified(Component::Flanneld, &[7; 1500])];
        let mut bundle = Vec::new();
        stream(&mut bundle, &artifacts, "2026-11-25T00:00:00Z").unwrap();
        bundle
    }

    fn open(&self, bundle: &[u8], digest: Option<Digest>) -> Result<OpenBundle, FetchError> {
        let path = self.path("node.bundle");
        files::write(&path, bundle, 0o600).unwrap();
        let settings = config::Bundle { path, digest, key: None };
        OpenBundle::open(&settings, &config::Sources::default(), self.path("cache"), Arc::new(Silent))
    }

    fn cached(&self) -> Vec<String> {
        files::names(&self.path("cache")).unwrap()
    }
}

type Member = (String, EntryType, Vec<u8>);

/// The members of a bundle: name, kind and content, to put together anew.
fn members(bundle: &[u8]) -> Vec<Member> {
    let mut archive = tar::Archive::new(bundle);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), entry.header().entry_type(), content)
    });
    entries.collect()
}

fn rebuilt(members: &[Member]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (name, kind, content) in members {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn what_was_written_is_read_and_any_tar_lists_it() {
    let place = Place::new();
    let bundle = place.bundle();
    let checked = check(bundle.as_slice()).unwrap();
    assert_eq!(checked.size, bundle.len() as u64);
    let names: Vec<String> = members(&bundle).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, [NAME, "kubelet-1.36.4-linux-amd64", "flanneld-1.36.4-linux-amd64"]);
    assert_eq!(checked.digest, Digest::of(&members(&bundle)[0].2));
    let record = &checked.manifest.artifacts[0];
    assert_eq!((record.digest, record.size, &record.signature), (Digest::of(KUBELET), 9, &Signature::NotAsked));
    assert_eq!(place.bundle(), bundle, "the same artifacts make the same bundle");
}

#[test]
fn a_bundle_is_written_whole_or_not_at_all() {
    let place = Place::new();
    let path = place.path("out.bundle");
    let artifacts = [place.verified(Component::Kubelet, KUBELET)];
    let checked = create(&path, &artifacts, "now").unwrap();
    assert_eq!(checked.digest, check(files::open(&path).unwrap()).unwrap().digest);
    let before = files::read(&path).unwrap();
    // The file in the cache changed since it was verified: shorter, and as long as it was.
    for changed in [b"short".as_slice(), b"A kubelet"] {
        let mut file = files::open_read_write(artifacts[0].0.path()).unwrap();
        file.set_len(0).and_then(|()| file.write_all(changed)).unwrap();
        create(&path, &artifacts, "now").unwrap_err();
        assert_eq!(files::read(&path).unwrap(), before);
    }
    let left = files::names(place.directory.path()).unwrap();
    assert!(!left.iter().any(|name| files::is_temporary(name)), "{left:?}");
}

#[test]
fn a_bundle_that_is_cut_off_anywhere_is_refused() {
    let place = Place::new();
    let bundle = place.bundle();
    for length in (0..bundle.len()).step_by(97).chain([bundle.len() - 1, bundle.len() - 512, bundle.len() - 1024]) {
        let error = check(&bundle[..length]).unwrap_err();
        assert!(!error.remedy().is_empty(), "{length}: {error}");
    }
    let mut padded = bundle.clone();
    padded.resize(bundle.len() + 9000, 0);
    check(padded.as_slice()).unwrap();
}

#[test]
fn members_more_or_less_or_of_another_kind_name_or_size_are_refused() {
    let place = Place::new();
    let bundle = place.bundle();
    let refused = |what: &str, change: &dyn Fn(&mut Vec<Member>)| {
        let mut members = members(&bundle);
        change(&mut members);
        let error = check(rebuilt(&members).as_slice()).expect_err(what);
        error.to_string()
    };
    assert_eq!(check(rebuilt(&members(&bundle)).as_slice()).unwrap().size, bundle.len() as u64);
    let extra = |name: &str, kind| (name.to_owned(), kind, b"x".to_vec());
    for name in ["x", "../../etc/passwd", "/etc/passwd", "kubelet-1.36.4-linux-amd64"] {
        let text = refused("a member more", &|members| members.push(extra(name, EntryType::Regular)));
        assert!(text.contains(name) && text.contains("its end"), "{text}");
        refused("a member before", &|members| members.insert(1, extra(name, EntryType::Regular)));
        refused("first", &|members| members.insert(0, extra(name, EntryType::Regular)));
    }
    for kind in
        [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Directory, EntryType::XHeader, EntryType::GNULongName]
    {
        let text = refused("another kind", &|members| members[1].1 = kind);
        assert!(text.contains("where kubelet"), "{text}");
        refused("a header before", &|members| members.insert(1, extra("x", kind)));
    }
    refused("another name", &|members| members[1].0 = "../kubelet".to_owned());
    refused("longer", &|members| members[1].2.push(b'x'));
    refused("shorter", &|members| members[1].2.truncate(8));
    let text = refused("other content", &|members| members[2].2[3] ^= 1);
    assert!(text.contains("flanneld-1.36.4-linux-amd64 in it is not what its manifest says"), "{text}");
    refused("swapped", &|members| members.swap(1, 2));
    refused("the manifest last", &|members| members.rotate_left(1));
    assert!(refused("nothing but the manifest", &|members| members.truncate(1)).contains("is missing"));
    let mut trailing = bundle.clone();
    trailing.extend_from_slice(b"more");
    assert!(check(trailing.as_slice()).unwrap_err().to_string().contains("more bytes"));
}

#[test]
fn a_manifest_that_describes_no_bundle_is_refused() {
    let place = Place::new();
    let bundle = place.bundle();
    let text = String::from_utf8(members(&bundle)[0].2.clone()).unwrap();
    for (from, to, expected) in [
        ("\"schema\": 1", "\"schema\": 2", "its format is 2"),
        ("\"schema\": 1", "\"scheme\": 1", "missing field `schema`"),
        ("\"member\": \"kubelet", "\"member\": \"../kubelet", "is called"),
        ("\"component\": \"kubelet\"", "\"component\": \"kubeadm\"", "kubeadm"),
        ("\"component\": \"flanneld\"", "\"component\": \"kubelet\"", "is called"),
        ("\"size\": 9", "\"size\": 99999999999", "bytes"),
        ("\"size\": 9", "\"size\": -1", "its manifest is wrong"),
    ] {
        let mut members = members(&bundle);
        assert!(text.contains(from), "{from} in {text}");
        members[0].2 = text.replace(from, to).into_bytes();
        let error = check(rebuilt(&members).as_slice()).unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
    let mut huge = members(&bundle);
    huge[0].2 = vec![b' '; 1 << 20];
    assert!(check(rebuilt(&huge).as_slice()).unwrap_err().to_string().contains("1048576 bytes"));
    assert!(check([0_u8; 0].as_slice()).unwrap_err().to_string().contains("it is empty"));
    assert!(check(b"<html>".repeat(200).as_slice()).unwrap_err().to_string().contains("no bundle"));
}

#[test]
fn what_is_obtained_is_verified_and_only_what_is_wanted_comes_out() {
    let place = Place::new();
    let open = place.open(&place.bundle(), None).unwrap();
    let wanted = [(artifact(Component::Kubelet, KUBELET), SignaturePolicy::Off)];
    for _ in 0..2 {
        let obtained = open.obtain(&wanted).unwrap();
        assert_eq!(files::read(obtained[0].path()).unwrap(), KUBELET);
        assert_eq!(place.cached(), [Digest::of(KUBELET).to_string()]);
    }
    // What the cache has and is damaged comes from the bundle again.
    files::write(&place.path("cache").join(Digest::of(KUBELET).to_string()), b"damaged", 0o600).unwrap();
    assert_eq!(files::read(open.obtain(&wanted).unwrap()[0].path()).unwrap(), KUBELET);
}

#[test]
fn a_bundle_never_outranks_who_knows_the_digest() {
    let place = Place::new();
    let open = place.open(&place.bundle(), None).unwrap();
    let other = artifact(Component::Kubelet, b"the catalog's kubelet");
    let error = open.obtain(&[(other, SignaturePolicy::Off)]).map(drop).unwrap_err();
    assert!(error.to_string().contains("and the catalog says"), "{error}");
    let missing = artifact(Component::CniPlugins, b"x");
    let error = open.obtain(&[(missing, SignaturePolicy::Off)]).map(drop).unwrap_err();
    assert!(
        error.to_string().contains("it holds no cni-plugins 1.36.4 (amd64), only kubelet 1.36.4 (amd64), flanneld"),
        "{error}"
    );
    assert!(place.cached().is_empty());
}

#[test]
fn a_digest_that_only_the_bundle_knows_counts_only_where_the_bundle_is_vouched_for() {
    let place = Place::new();
    let bundle = place.bundle();
    let version = "1.36.4".parse().unwrap();
    let asked = |open: &OpenBundle, trust_on_first_use| {
        let source =
            config::Source { locations: Vec::new(), digest: None, trust_on_first_use, signature: SignaturePolicy::Off };
        open.artifact(Component::Kubelet, &version, Architecture::Amd64, &source)
    };
    let ask = |open: &OpenBundle| asked(open, false);
    assert!(asked(&place.open(&bundle, None).unwrap(), true).is_ok(), "as the user lets it");
    let error = ask(&place.open(&bundle, None).unwrap()).unwrap_err();
    assert!(error.to_string().contains("nobody but the bundle itself vouches"), "{error}");
    assert!(error.remedy().contains("sources.bundle-digest"));
    let digest = check(bundle.as_slice()).unwrap().digest;
    let artifact = ask(&place.open(&bundle, Some(digest)).unwrap()).unwrap();
    assert_eq!((artifact.digest, artifact.origin), (Digest::of(KUBELET), DigestOrigin::Bundle));
    let error = place.open(&bundle, Some(Digest::of(b"another"))).map(drop).unwrap_err();
    assert!(error.to_string().contains("another than the one that is pinned"), "{error}");
}

#[test]
fn a_signature_that_is_required_and_not_in_the_bundle_is_refused() {
    let place = Place::new();
    let open = place.open(&place.bundle(), None).unwrap();
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse().unwrap();
    let policy = SignaturePolicy::Require(crate::model::Signer::Minisign(key));
    let error = open.obtain(&[(artifact(Component::Kubelet, KUBELET), policy)]).map(drop).unwrap_err();
    let absent = matches!(&error, FetchError::Signature { problem, .. } if matches!(**problem, SignatureProblem::Absent(_)));
    assert!(absent && place.cached().is_empty(), "{error}");
}

#[test]
fn what_is_not_a_file_is_no_bundle() {
    let place = Place::new();
    for path in [place.path("nothing"), place.directory.path().to_owned(), "/dev/zero".into()] {
        let bundle = config::Bundle { path, digest: None, key: None };
        assert!(!look(&bundle).unwrap_err().remedy().is_empty());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        prop_assert!(check(bytes.as_slice()).is_err());
    }

    #[test]
    fn no_change_of_a_bundle_is_taken_for_another_bundle(at in 0_usize..6000, bit in 0_u8..8, length in 0_usize..6000) {
        let place = Place::new();
        let bundle = place.bundle();
        let whole = check(bundle.as_slice()).unwrap();
        let mut changed = bundle.clone();
        let at = at % bundle.len();
        changed[at] ^= 1 << bit;
        // Some bits of a header say nothing: what is read is the same then, or it is another manifest with another digest.
        if let Ok(other) = check(changed.as_slice()) {
            prop_assert!(other.manifest == whole.manifest || other.digest != whole.digest);
        }
        let cut = &bundle[..length % bundle.len()];
        prop_assert!(check(cut).is_err());
    }
}
