//! Marks: eight shapes beside eight colours, then the same ones hollow, so that no two of sixteen
//! series look alike to anyone.

use super::svg::{Svg, place};

pub(super) const SHAPES: usize = 8;

/// The class that gives the colour of a style.
pub(super) fn colour_class(style: usize) -> String {
    format!("c{}", style % SHAPES)
}

/// Draws the mark of a style. `look` adds classes, such as `run`.
pub(super) fn draw(
    svg: &mut Svg,
    style: usize,
    look: &str,
    at: (f64, f64),
    radius: f64,
    title: &str,
) {
    let hollow = if (style / SHAPES) % 2 == 1 {
        " hollow"
    } else {
        ""
    };
    let class = format!("mark {} {look}{hollow}", colour_class(style));
    if style.is_multiple_of(SHAPES) {
        svg.open("circle")
            .text("class", &class)
            .number("cx", at.0)
            .number("cy", at.1)
            .number("r", radius)
            .titled(title);
        return;
    }
    let outline = outline(style % SHAPES).iter().enumerate();
    let mut path = String::new();
    for (index, (x, y)) in outline {
        path.push(if index == 0 { 'M' } else { 'L' });
        path.push_str(&place(at.0 + x * radius));
        path.push(' ');
        path.push_str(&place(at.1 + y * radius));
    }
    path.push('Z');
    svg.open("path")
        .text("class", &class)
        .text("d", &path)
        .titled(title);
}

/// The corners of a shape about the origin, at radius 1 with about equal areas.
fn outline(shape: usize) -> &'static [(f64, f64)] {
    match shape {
        1 => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2 => &[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
        3 => &[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)],
        4 => &[(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)],
        5 => &[
            (-0.4, -1.2),
            (0.4, -1.2),
            (0.4, -0.4),
            (1.2, -0.4),
            (1.2, 0.4),
            (0.4, 0.4),
            (0.4, 1.2),
            (-0.4, 1.2),
            (-0.4, 0.4),
            (-1.2, 0.4),
            (-1.2, -0.4),
            (-0.4, -0.4),
        ],
        6 => &[(-1.2, 0.0), (0.8, -1.1), (0.8, 1.1)],
        _ => &[
            (0.0, -1.2),
            (1.14, -0.37),
            (0.7, 0.97),
            (-0.7, 0.97),
            (-1.14, -0.37),
        ],
    }
}
