// What was served, fetched and found over the last hour, as plots.
/** @import { TrafficSample } from './state.js' */
import uPlot from 'uplot'
import { make, find, fill, nothing } from './dom.js'
import { formatBytes } from './format.js'

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short', hour12: false })

/** What is shown at least, seconds. */
const leastSpan = 600

/**
 * What the plots are of: seconds, and a series for each line.
 * @param {readonly TrafficSample[]} samples
 */
function ratesOf(samples) {
  /** @type {number[]} */
  const times = []
  /** @type {number[]} */
  const served = []
  /** @type {number[]} */
  const fetched = []
  /** @type {(number | null)[]} */
  const hits = []
  for (const [index, sample] of samples.entries()) {
    const before = samples[index - 1]
    if (before === undefined) continue
    const seconds = Math.max(1, (sample.at - before.at) / 1000)
    const found = sample.hits - before.hits
    const all = found + sample.misses - before.misses
    times.push(sample.at / 1000)
    served.push((sample.served - before.served) / seconds)
    fetched.push((sample.fetched - before.fetched) / seconds)
    hits.push(all === 0 ? null : (found / all) * 100)
  }
  return { times, served, fetched, hits }
}

export function createPlots() {
  /** @type {uPlot[]} */
  let plots = []
  return {
    /** @param {readonly TrafficSample[]} samples */
    show(samples) {
      const last = samples.at(-1)
      const { times, served, fetched, hits } = ratesOf(samples)
      if (last === undefined || times.length === 0) {
        fill('traffic', nothing('The first ten seconds are being measured.'))
        plots = []
        return
      }
      if (plots.length === 0) {
        fill(
          'traffic',
          make('p', { id: 'traffic-sums' }),
          figure('plot-bytes', 'Bytes a second: served to clients, and fetched from upstreams'),
          figure('plot-hits', 'Look-ups in the cache that were hits, in percent'),
        )
        plots = [
          draw('plot-bytes', ['served', 'fetched'], (value) => `${formatBytes(value)}/s`),
          draw('plot-hits', ['hits'], (value) => `${Math.round(value)} %`, [0, 100]),
        ]
      }
      find('traffic-sums').textContent = sumsOf(last)
      const max = last.at / 1000
      const min = Math.min(times[0] ?? max, max - leastSpan)
      for (const [index, data] of [
        [times, served, fetched],
        [times, hits],
      ].entries()) {
        plots[index]?.setData(/** @type {uPlot.AlignedData} */ (data), false)
        plots[index]?.setScale('x', { min, max })
      }
    },
    /** They are drawn anew, in the colours of another scheme. */
    forget() {
      for (const plot of plots) plot.destroy()
      plots = []
    },
  }
}

/** @param {TrafficSample} sample */
function sumsOf({ served, fetched, hits, misses }) {
  const all = hits + misses
  const ratio =
    all === 0 ? 'nothing was asked for yet' : `${((hits / all) * 100).toFixed(1)} % hits`
  return `Since the start: ${formatBytes(served)} served, ${formatBytes(fetched)} fetched, ${ratio}.`
}

/**
 * @param {string} id
 * @param {string} caption
 */
function figure(id, caption) {
  return make('figure', {}, make('figcaption', {}, caption), make('div', { id, class: 'plot' }))
}

/**
 * @param {string} id
 * @param {readonly string[]} names
 * @param {(value: number) => string} format
 * @param {[number, number]} [range]
 */
function draw(id, names, format, range) {
  const place = find(id)
  // A canvas knows no variables: the colour that one comes to is that of a text.
  const colour = (/** @type {string} */ name) => {
    place.style.color = `var(${name})`
    return getComputedStyle(place).color
  }
  const grid = { stroke: colour('--line'), width: 1 }
  const font = '12px system-ui, sans-serif'
  const axis = { stroke: colour('--text'), grid, ticks: grid, font }
  const lines = ['--first', '--second']
  const plot = new uPlot(
    {
      width: Math.max(200, place.clientWidth),
      height: 180,
      cursor: { y: false },
      scales: {
        y: { range: range ?? ((_plot, _min, max) => [0, Math.max(1024, max * 1.1)]) },
      },
      axes: [
        {
          ...axis,
          space: 70,
          incrs: [60, 120, 300, 600, 900],
          values: (_plot, values) => values.map((value) => clock.format(value * 1000)),
        },
        { ...axis, size: 78, values: (_plot, values) => values.map((value) => format(value)) },
      ],
      series: [
        {},
        ...names.map((label, index) => ({
          label,
          stroke: colour(lines[index] ?? '--first'),
          width: 2,
          value: (/** @type {uPlot} */ _plot, /** @type {number | null} */ value) =>
            value === null ? '–' : format(value),
        })),
      ],
    },
    [[], ...names.map(() => [])],
    place,
  )
  new ResizeObserver(() => {
    if (place.isConnected) plot.setSize({ width: Math.max(200, place.clientWidth), height: 180 })
  }).observe(place)
  return plot
}
