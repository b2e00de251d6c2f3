//! Files of the interface, in the binary and addressed by their content: a new build has new addresses, so the browser may keep
//! each for ever. O2: nothing is loaded from elsewhere.

use std::sync::LazyLock;

pub(crate) struct Asset {
    name: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: &'static [u8],
    path: String,
}

/// Hex digits of SHA-256 in an address: 64 bits tell builds apart; nobody is kept out by it.
const HASH_CHARS: usize = 16;

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    [
        asset("app.css", "text/css; charset=utf-8", include_bytes!("../assets/app.css")),
        asset("app.js", "text/javascript; charset=utf-8", include_bytes!("../assets/app.js")),
        asset("htmx.js", "text/javascript; charset=utf-8", include_bytes!("../assets/htmx.min.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("../assets/icon.svg")),
    ]
});

fn asset(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
    let hash: String = model::sha256_hex(bytes).chars().take(HASH_CHARS).collect();
    Asset { name, content_type, bytes, path: format!("/assets/{hash}-{name}") }
}

/// The address of an asset by its plain name.
pub(crate) fn href(name: &str) -> &'static str {
    ASSETS.iter().find(|a| a.name == name).map_or("", |a| a.path.as_str())
}

/// The asset at `/assets/{file}`; an address of an older build is not found, rather than another content under an old name.
pub(crate) fn find(file: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|a| a.path.strip_prefix("/assets/") == Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendored_files_are_as_published() {
        let table = include_str!("../assets/VENDOR.md");
        let hash = model::sha256_hex(include_bytes!("../assets/htmx.min.js"));
        assert!(table.contains(&hash), "VENDOR.md names {hash}");
    }

    #[test]
    fn an_address_names_its_content() {
        for a in ASSETS.iter() {
            assert!(href(a.name).ends_with(a.name));
            assert!(find(a.path.trim_start_matches("/assets/")).is_some());
        }
        assert!(find("app.css").is_none());
        assert!(find("../Cargo.toml").is_none());
    }

    /// First load under 200 KB, all assets (`interface.md` 2.9), with 60 KB left for the page itself.
    #[test]
    fn assets_fit_the_budget() {
        let total: usize = ASSETS.iter().map(|a| a.bytes.len()).sum();
        assert!(total < 140_000, "{total} bytes");
    }

    /// Only what needs no eval and injects nothing.
    #[test]
    fn our_script_is_small_and_plain() {
        let js = include_str!("../assets/app.js");
        assert!(js.lines().count() < 400);
        assert!(js.starts_with("// @ts-check"));
        for bad in [
            "eval(",
            "innerHTML",
            "insertAdjacentHTML",
            "document.write",
            "http://",
            "https://",
            ".style",
            "hx-on",
        ] {
            assert!(!js.contains(bad), "app.js holds `{bad}`");
        }
        let css = include_str!("../assets/app.css");
        for bad in ["@import", "http://", "https://", "expression("] {
            assert!(!css.contains(bad), "app.css holds `{bad}`");
        }
    }

    fn luminance(hex: &str) -> f64 {
        let [_, red, green, blue] =
            u32::from_str_radix(hex.trim_start_matches('#'), 16).unwrap().to_be_bytes();
        let channel = |byte: u8| {
            let c = f64::from(byte) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue)
    }

    /// WCAG 2.2: 4.5:1 for text, 3:1 for the edges of controls, in both themes.
    #[test]
    fn colours_pass_contrast_in_both_themes() {
        let css = include_str!("../assets/app.css");
        let token = |name: &str, theme: usize| {
            let (_, rest) = css.split_once(&format!("--{name}: light-dark(")).unwrap();
            rest.split(')').next().unwrap().split(", ").nth(theme).unwrap().to_owned()
        };
        let texts = ["ink", "soft", "accent", "critical", "high", "medium", "low", "info", "good", "unknown"];
        let grounds = ["ground", "surface", "sunken"];
        let mut pairs: Vec<(&str, &str, f64)> =
            texts.iter().flat_map(|t| grounds.iter().map(move |g| (*t, *g, 4.5))).collect();
        pairs.extend([
            ("edge", "surface", 3.0),
            ("edge", "ground", 3.0),
            ("on-accent", "accent", 4.5),
            ("accent", "accent-soft", 4.5),
            ("critical", "critical-soft", 4.5),
            ("good", "good-soft", 4.5),
            ("unknown", "unknown-soft", 4.5),
            ("ink", "accent-soft", 4.5),
        ]);
        for theme in 0..2 {
            for (front, back, least) in &pairs {
                let (a, b) = (luminance(&token(front, theme)), luminance(&token(back, theme)));
                let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(ratio >= *least, "{front} on {back}, theme {theme}: {ratio:.2}");
            }
        }
    }
}
