// `portcullis verify`: hashes all that the cache holds, and takes what is wrong out of the way.
import { setTimeout } from 'node:timers/promises'
import { loadConfig } from '../../config/load.ts'
import { parseRate, roughSize } from '../../config/units.ts'
import { UsageError } from '../../errors.ts'
import { defineCommand } from '../command.ts'
import { configFile, configOption, jsonOption } from '../options.ts'
import { printJson, printLine, printNote } from '../output/print.ts'
import { openBars } from '../output/progress.ts'
import { withCache, type Ask } from './asking.ts'

interface VerifyAnswer {
  isRunning: boolean
  share: number
  files: number
  bytes: number
  flaws: number
  findings: { name: string; flaw: string; reason?: string }[]
  began?: string
  ended?: string
  held: { bytes: number }
}

const lookEvery = 200

export const command = defineCommand({
  usage: 'verify [--rate RATE] [--json] [--config FILE]',
  summary:
    'Hashes all that the cache holds; what is wrong, unreadable or gone is named, set aside and fetched again when asked for.',

  options: {
    rate: {
      type: 'string',
      default: '64MiB/s',
      value: 'RATE',
      help: 'how fast files are read',
    },
    json: jsonOption,
    config: configOption,
  },
  takesArguments: false,

  async run({ values: { rate, json, config: file } }) {
    if ((parseRate(rate) ?? 0) <= 0) {
      const message = 'must be a rate above zero such as 64MiB/s or 200Mbit/s'
      throw new UsageError([{ path: '--rate', message }])
    }
    const config = await loadConfig(configFile(file))
    const result = await withCache(config, async (ask) => verify(ask, rate))
    if (json) printJson(result)
    else tell(result)
    return result.flaws === 0 ? 0 : 1
  },
})

async function verify(ask: Ask, rate: string): Promise<VerifyAnswer> {
  const bars = openBars()
  try {
    let state = (await ask('POST', '/verify', { rate })) as VerifyAnswer
    const { began, held } = state
    const bar = bars.begin('verify', held.bytes)
    for (let shown = 0; state.isRunning;) {
      await setTimeout(lookEvery)
      state = (await ask('GET', '/verify')) as VerifyAnswer
      const done = Math.min(held.bytes, state.bytes)
      bar.advance(done - shown)
      shown = done
    }
    bar.end()
    if (state.began !== began || state.ended === undefined) {
      throw new Error('the verification was ended before it had seen everything: begin it again')
    }
    return state
  } finally {
    bars.stop()
  }
}

function tell({ files, bytes, flaws, findings }: VerifyAnswer): void {
  for (const { name, flaw, reason } of findings) {
    printNote(`${name}: ${flaw}${reason === undefined ? '' : ` (${reason})`}`)
  }
  if (flaws > findings.length) printNote(`and ${flaws - findings.length} more: see the log`)
  printLine(`${files} files, ${roughSize(bytes)} hashed, ${flaws} not right`)
}
