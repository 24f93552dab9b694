//! The C library of a program that is linked statically, found in its bytes.

/// The GNU C library that is linked into a program, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedLibc {
    /// Such as `debian`; none where it is the library's own release.
    vendor: Option<String>,
    pub version: String,
}

impl LinkedLibc {
    /// Reads what the library prints when it is run, such as `GNU C Library (Debian GLIBC
    /// 2.36-9+deb12u14) stable release version 2.36.`
    pub fn find(program: &[u8]) -> Option<Self> {
        const NAME: &[u8] = b"GNU C Library (";
        let at = program.windows(NAME.len()).position(|it| it == NAME)?;
        let text = program[at + NAME.len()..]
            .split(|byte| *byte == b'\n')
            .next()?;
        let (package, release) = str::from_utf8(text).ok()?.split_once(") ")?;
        if let Some((vendor, version)) = package.split_once(" GLIBC ") {
            let (vendor, version) = (Some(vendor.to_lowercase()), version.to_owned());
            return Some(Self { vendor, version });
        }
        let (_, version) = release.split_once(" release version ")?;
        let version = version.trim_end_matches('.').to_owned();
        Some(Self {
            vendor: None,
            version,
        })
    }

    /// The package URL, by which scanners identify it.
    pub fn package_url(&self) -> String {
        let version = self.version.replace('+', "%2B");
        match &self.vendor {
            Some(vendor) => format!("pkg:deb/{vendor}/glibc@{version}?arch=source"),
            None => format!("pkg:generic/glibc@{version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_is_found_where_it_names_itself() {
        let reference = |text: &str| {
            let program = [b"\x7fELF\0\xff", text.as_bytes(), b"\nCopyright\0\xff"].concat();
            LinkedLibc::find(&program).map(|libc| libc.package_url())
        };
        for (text, found) in [
            (
                "GNU C Library (Ubuntu GLIBC 2.39-0ubuntu8) stable release version 2.39.",
                "pkg:deb/ubuntu/glibc@2.39-0ubuntu8?arch=source",
            ),
            (
                "GNU C Library (GNU libc) stable release version 2.41.",
                "pkg:generic/glibc@2.41",
            ),
        ] {
            assert_eq!(reference(text).as_deref(), Some(found));
        }
        for text in [
            "",
            "GNU C Library",
            "GNU C Library (",
            "GNU C Library (x) y",
        ] {
            assert_eq!(reference(text), None, "{text}");
        }
    }
}
