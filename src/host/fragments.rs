//! The configuration's files: the main one and its drop-ins.

use std::path::{Path, PathBuf};

use super::files::{self, Result};

/// A file of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentFile {
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// Reads the main file and, in order of name, the drop-ins beside it: for `hostlet.toml` those are `hostlet.d/*.toml`.
/// Either may be missing; then it is not in the list.
pub fn read(main: &Path) -> Result<Vec<FragmentFile>> {
    let mut fragments = Vec::new();
    if let Some(text) = files::if_present(files::read_text(main))? {
        fragments.push(FragmentFile { path: main.to_owned(), text });
    }
    let directory = main.with_extension("d");
    for name in files::names(&directory)? {
        if Path::new(&name).extension().is_some_and(|extension| extension == "toml") && !name.starts_with('.') {
            let path = directory.join(name);
            fragments.push(FragmentFile { text: files::read_text(&path)?, path });
        }
    }
    Ok(fragments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_follow_the_main_file_in_order_of_name_and_only_toml_counts() {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("hostlet.toml");
        for (name, text) in
            [("hostlet.toml", "0"), ("hostlet.d/20-b.toml", "2"), ("hostlet.d/10-a.toml", "1"), ("hostlet.d/x.bak", "9")]
        {
            let path = directory.path().join(name);
            files::create_directory(path.parent().unwrap(), 0o755).unwrap();
            files::write(&path, text.as_bytes(), 0o644).unwrap();
        }
        let texts: Vec<String> = read(&main).unwrap().into_iter().map(|fragment| fragment.text).collect();
        assert_eq!(texts, ["0", "1", "2"]);
        assert_eq!(read(&directory.path().join("none.toml")).unwrap(), []);
    }
}
