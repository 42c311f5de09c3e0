//! Draws the pictures, each as SVG and as PNG.

use std::error::Error;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use redial::storm::{Report, Series};

type Area<B> = DrawingArea<B, Shift>;
type Failure<B> = DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>;

const FONT: &str = "DejaVu Sans";
const INK: RGBColor = RGBColor(40, 44, 52);
const LIMIT: RGBColor = RGBColor(200, 30, 45);
const DOWN: RGBColor = RGBColor(238, 238, 238);
const LINES: [RGBColor; 6] = [
    RGBColor(217, 119, 6),
    RGBColor(37, 99, 175),
    RGBColor(22, 135, 95),
    RGBColor(126, 70, 160),
    RGBColor(190, 70, 110),
    RGBColor(90, 100, 115),
];

fn color(policy: usize) -> RGBColor {
    LINES[policy % LINES.len()]
}

fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// A picture, with a part for each policy.
pub(crate) enum Picture<'a> {
    /// Charts of the arrivals per second beside the capacity, one for each policy, and
    /// a chart of the clients that are back beside the limit.
    Storm(&'a [(&'a str, Report)]),
    /// How much longer than its limit each storm takes, by N/C and outage.
    Heat(&'a [(&'a str, Vec<Report>)]),
}

impl Picture<'_> {
    /// Draws the picture into a folder, and returns its files.
    pub(crate) fn save(&self, directory: &Path) -> Result<[PathBuf; 2], Box<dyn Error>> {
        let normal = plotters::style::FontStyle::Normal;
        plotters::style::register_font(FONT, normal, dejavu::sans::regular())
            .map_err(|_| "the font is damaged")?;
        let (name, height) = match self {
            Self::Storm(reports) => ("storm", 170 * reports.len() as u32 + 330),
            Self::Heat(sweeps) => ("heat", 300 * sweeps.len() as u32 + 40),
        };
        let files = ["svg", "png"].map(|kind| directory.join(name).with_extension(kind));
        let size = (960, height);
        self.draw(&SVGBackend::new(&files[0], size).into_drawing_area())?;
        self.draw(&BitMapBackend::new(&files[1], size).into_drawing_area())?;
        Ok(files)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Failure<B>> {
        area.fill(&WHITE)?;
        match self {
            Self::Storm(reports) => storm(area, reports)?,
            Self::Heat(sweeps) => heat(area, sweeps)?,
        }
        area.present()
    }
}

fn storm<B: DrawingBackend>(area: &Area<B>, reports: &[(&str, Report)]) -> Result<(), Failure<B>> {
    let (arrivals, back) = area.split_vertically(170 * reports.len() as u32);
    let Some((_, first)) = reports.first() else {
        return Ok(());
    };
    let span = -first.outage.as_secs_f64()..until(reports);
    let most = reports.iter().map(|(_, report)| most(&report.arrivals));
    let most = most.fold(2.0 * first.capacity, f64::max);
    let least = (first.capacity / 2.0).min(1.0);
    let each = arrivals.split_evenly((reports.len(), 1));
    for (policy, (area, (name, report))) in each.iter().zip(reports).enumerate() {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(20)
            .y_label_area_size(70)
            .caption(format!("{name}: arrivals a second"), text(15))
            .build_cartesian_2d(span.clone(), (least..1.5 * most).log_scale())?;
        let down = [(span.start, least), (0.0, 1.5 * most)];
        chart.draw_series([Rectangle::new(down, DOWN.filled())])?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .y_labels(5)
            .x_label_formatter(&|second| format!("{second:.0}"))
            .y_label_formatter(&|count| short(*count))
            .label_style(text(12))
            .draw()?;
        // Draws steps. A logarithmic axis has no 0.
        let seconds = report.arrivals.seconds().flat_map(|(start, count)| {
            let count = (count as f64).max(least);
            [(start, count), (start + 1.0, count)]
        });
        let seconds = seconds.filter(|&(at, _)| span.contains(&at));
        let color = color(policy);
        chart.draw_series(
            AreaSeries::new(seconds, least, color.mix(0.35)).border_style(color.stroke_width(1)),
        )?;
        let capacity = [span.start, span.end].map(|at| (at, report.capacity));
        chart.draw_series(LineSeries::new(capacity, LIMIT.stroke_width(2)))?;
        chart.draw_series([Text::new(
            "capacity",
            (span.end, report.capacity),
            text(12)
                .color(&LIMIT)
                .pos(Pos::new(HPos::Right, VPos::Bottom)),
        )])?;
    }

    let clients = f64::from(first.clients);
    let mut chart = ChartBuilder::on(&back)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .caption("clients back", text(15))
        .build_cartesian_2d(span.clone(), 0.0..1.02 * clients)?;
    let down = [(span.start, 0.0), (0.0, 1.02 * clients)];
    chart.draw_series([Rectangle::new(down, DOWN.filled())])?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("seconds since the server's return; grey: it is down")
        .x_label_formatter(&|second| format!("{second:.0}"))
        .y_label_formatter(&|count| short(*count))
        .label_style(text(12))
        .axis_desc_style(text(13))
        .draw()?;
    let limit = [
        (0.0, 0.0),
        (first.limit().as_secs_f64(), clients),
        (span.end, clients),
    ];
    chart
        .draw_series(LineSeries::new(limit, LIMIT.stroke_width(2)))?
        .label("the limit: N/C")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], LIMIT.stroke_width(2)));
    for (policy, (name, report)) in reports.iter().enumerate() {
        let mut back = 0;
        let mut line = Vec::new();
        for (start, count) in report.returns.iter() {
            if span.contains(&(start + 0.1)) {
                back += count;
                line.push((start + 0.1, back as f64));
            }
        }
        line.push((span.end, back as f64));
        let color = color(policy);
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(DOWN)
        .label_font(text(12))
        .draw()
}

/// The end of the time axis, in seconds. The axis covers the recovery of each fleet
/// that recovers, and 2.5 times the limit for the others.
fn until(reports: &[(&str, Report)]) -> f64 {
    let ends = reports.iter().map(|(_, report)| match report.t_full {
        Some(full) => 1.05 * full.time.as_secs_f64(),
        None => 2.5 * report.limit().as_secs_f64(),
    });
    ends.fold(1.0, f64::max)
}

fn most(series: &Series) -> f64 {
    let most = series.seconds().map(|(_, count)| count).max();
    most.unwrap_or_default() as f64
}

fn short(count: f64) -> String {
    match count {
        1e6.. => format!("{}M", count / 1e6),
        1e3.. => format!("{}k", count / 1e3),
        _ => format!("{count}"),
    }
}

fn heat<B: DrawingBackend>(
    area: &Area<B>,
    sweeps: &[(&str, Vec<Report>)],
) -> Result<(), Failure<B>> {
    let (maps, key) = area.split_vertically(300 * sweeps.len() as u32);
    for (area, (name, reports)) in maps.split_evenly((sweeps.len(), 1)).iter().zip(sweeps) {
        let mut outages: Vec<_> = reports.iter().map(|report| report.outage).collect();
        outages.sort();
        outages.dedup();
        let columns = reports.len() / outages.len().max(1);
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .caption(
                format!("{name}: seconds until 99 % are back, beyond the limit"),
                text(15),
            )
            .build_cartesian_2d(0.0..columns as f64, 0.0..outages.len() as f64)?;
        let limit = |column: f64| {
            let report = reports.get(column as usize * outages.len());
            report.map_or(String::new(), |report| {
                format!("{:.1} s", report.limit().as_secs_f64())
            })
        };
        chart
            .configure_mesh()
            .disable_mesh()
            .x_labels(columns + 1)
            .y_labels(outages.len() + 1)
            .x_label_offset(26)
            .y_label_offset(-14)
            .x_label_formatter(&|column| limit(*column))
            .y_label_formatter(&|row| {
                let outage = outages.get(*row as usize);
                outage.map_or(String::new(), |outage| {
                    format!("{:.0} s", outage.as_secs_f64())
                })
            })
            .x_desc("N/C")
            .y_desc("outage")
            .label_style(text(12))
            .axis_desc_style(text(13))
            .draw()?;
        for (at, report) in reports.iter().enumerate() {
            let (x, y) = ((at / outages.len()) as f64, (at % outages.len()) as f64);
            let least = 0.99 * report.limit().as_secs_f64();
            let over = report
                .t_99
                .map(|at| (at.time.as_secs_f64() - least).max(0.0));
            chart.draw_series([Rectangle::new(
                [(x, y), (x + 1.0, y + 1.0)],
                heat_of(over).filled(),
            )])?;
            let label = over.map_or("never".to_owned(), |over| format!("{over:.0}"));
            let ink = if over.is_none() { &WHITE } else { &INK };
            let middle = Pos::new(HPos::Center, VPos::Center);
            chart.draw_series([Text::new(
                label,
                (x + 0.5, y + 0.5),
                text(12).color(ink).pos(middle),
            )])?;
        }
    }
    let note = "The limit is what the server can take: 99 % of N/C.";
    key.draw(&Text::new(note, (80, 10), text(12)))
}

/// The colour of a time, on a log scale. One second is blue, half a minute is yellow
/// and a quarter of an hour is red. Black means never.
fn heat_of(over: Option<f64>) -> RGBColor {
    let Some(seconds) = over else {
        return INK;
    };
    let heat = (seconds.max(1.0).log(900.0)).min(1.0);
    let stops = [(143, 190, 225), (250, 235, 160), (225, 95, 75)];
    let (from, to, part) = if heat < 0.5 {
        (stops[0], stops[1], 2.0 * heat)
    } else {
        (stops[1], stops[2], 2.0 * heat - 1.0)
    };
    let mix = |from: u8, to: u8| (f64::from(from) + part * (f64::from(to) - f64::from(from))) as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}
