use model::escape_controls;

/// Writes XML and the XML-shaped part of HTML. Text and attribute values are escaped here and nowhere else.
#[derive(Debug, Default)]
pub struct Markup {
    out: String,
    open: Vec<&'static str>,
}

impl Markup {
    #[must_use]
    pub fn new() -> Markup {
        Markup::default()
    }

    /// `<tag a="b">`; closed by [`Markup::close`].
    pub fn open(&mut self, tag: &'static str, attributes: &[(&str, &str)]) -> &mut Markup {
        self.start(tag, attributes);
        self.out.push('>');
        self.open.push(tag);
        self
    }

    /// Closes the element opened last; without one it does nothing.
    pub fn close(&mut self) -> &mut Markup {
        if let Some(tag) = self.open.pop() {
            self.out.push_str("</");
            self.out.push_str(tag);
            self.out.push('>');
        }
        self
    }

    /// `<tag a="b"/>`.
    pub fn empty(&mut self, tag: &'static str, attributes: &[(&str, &str)]) -> &mut Markup {
        self.start(tag, attributes);
        self.out.push_str("/>");
        self
    }

    /// `<tag a="b">text</tag>`.
    pub fn element(&mut self, tag: &'static str, attributes: &[(&str, &str)], text: &str) -> &mut Markup {
        self.open(tag, attributes).text(text).close()
    }

    /// Text, with controls made visible and markup made inert.
    pub fn text(&mut self, text: &str) -> &mut Markup {
        escape_into(&escape_controls(text), &mut self.out);
        self
    }

    /// Text for machines: as it is, line breaks and bidirectional marks too, but for the characters that XML cannot hold in any
    /// form; those become visible.
    pub(crate) fn exact(&mut self, text: &str) -> &mut Markup {
        for c in text.chars() {
            match c {
                '\n' | '\t' => self.out.push(c),
                // As it is, a reader would take it for a line end (XML 1.0, 2.11).
                '\r' => self.out.push_str("&#13;"),
                c if c.is_control() => self.out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
                c => escape_into(c.encode_utf8(&mut [0; 4]), &mut self.out),
            }
        }
        self
    }

    /// Text from outside: isolated in `<bdi>`, so that right-to-left letters cannot reorder what stands beside it.
    pub fn outside(&mut self, text: &str) -> &mut Markup {
        self.element("bdi", &[], text)
    }

    /// A line break in the source, for people who read it.
    pub fn line(&mut self) -> &mut Markup {
        self.out.push('\n');
        self
    }

    /// Text that is markup already. Only for what this crate wrote itself.
    pub(crate) fn raw(&mut self, markup: &str) -> &mut Markup {
        self.out.push_str(markup);
        self
    }

    /// Everything written, with what is still open closed.
    #[must_use]
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.out
    }

    fn start(&mut self, tag: &'static str, attributes: &[(&str, &str)]) {
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape_into(&escape_controls(value), &mut self.out);
            self.out.push('"');
        }
    }
}

fn escape_into(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // No character of XML (XML 1.0, 2.2).
            '\u{fffe}' | '\u{ffff}' => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_inert_in_text_and_attribute() {
        let mut m = Markup::new();
        m.open("p", &[("title", "\"><script>x</script>\u{202e}")]).outside("<img onerror='x'>\u{1b}[31m");
        assert_eq!(
            m.finish(),
            "<p title=\"&quot;&gt;&lt;script&gt;x&lt;/script&gt;\\u{202e}\">\
             <bdi>&lt;img onerror=&#39;x&#39;&gt;\\u{1b}[31m</bdi></p>"
        );
    }

    #[test]
    fn what_is_open_is_closed_in_order() {
        let mut m = Markup::new();
        m.open("a", &[]).open("b", &[]).empty("c", &[]);
        assert_eq!(m.finish(), "<a><b><c/></b></a>");
        assert_eq!(Markup::new().close().line().out, "\n");
    }
}
