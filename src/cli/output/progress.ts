// How far long work is: bars on a terminal, a line now and then elsewhere. Always on stderr.
import { MultiBar } from 'cli-progress'
import { printable } from '../../rules/printable.ts'
import { roughSize } from '../../config/units.ts'

export interface Bar {
  advance: (bytes: number) => void
  end: () => void
}

export interface Bars {
  /** Begins a bar of `total` bytes. */
  begin: (label: string, total: number) => Bar
  /** Gives the terminal back. */
  stop: () => void
}

/** Milliseconds between two lines about the same work. */
const lineInterval = 5000
const labelWidth = 40

export function openBars(stream: NodeJS.WriteStream = process.stderr): Bars {
  return stream.isTTY ? terminalBars(stream) : lines(stream)
}

function terminalBars(stream: NodeJS.WriteStream): Bars {
  const bars = new MultiBar({
    stream,
    clearOnComplete: true,
    hideCursor: true,
    format: '{label} [{bar}] {percentage}% of {size}',
  })
  return {
    begin(name, total) {
      const label = printable(name)
      const payload = { label: label.slice(-labelWidth).padEnd(labelWidth), size: roughSize(total) }
      const bar = bars.create(total, 0, payload)
      return { advance: (bytes) => bar.increment(bytes), end: () => void bars.remove(bar) }
    },
    stop: () => bars.stop(),
  }
}

function lines(stream: NodeJS.WriteStream): Bars {
  return {
    begin(name, total) {
      const label = printable(name)
      stream.write(`${label}: ${roughSize(total)}\n`)
      let done = 0
      let next = Date.now() + lineInterval
      return {
        advance(bytes) {
          done += bytes
          if (Date.now() < next || total === 0) return
          next = Date.now() + lineInterval
          stream.write(`${label}: ${Math.min(100, Math.round((done / total) * 100))}%\n`)
        },
        end() {},
      }
    },
    stop() {},
  }
}
