//! Pictures that `report` drew. One of the two places where markup is taken as it is (tidy T8): the writer in `report` escapes.

use maud::{Markup, PreEscaped};

pub(crate) fn svg(drawn: String) -> Markup {
    PreEscaped(drawn)
}
