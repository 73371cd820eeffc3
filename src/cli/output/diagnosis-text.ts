// A diagnosis as an operator reads it on a terminal.
import type { ChainCertificate } from '../../upstream/doctor/certificate-chain.ts'
import type { Diagnosis } from '../../upstream/doctor/diagnosis.ts'
import type { ModeResult } from '../../upstream/doctor/tls-modes.ts'
import type { Step } from '../../upstream/doctor/step.ts'
import { printable } from '../../rules/printable.ts'
import { formatTable } from './table.ts'

const widest = 160

/** Tables and sentences, with an empty line at the end. */
export function formatDiagnosis(diagnosis: Diagnosis): string {
  const { upstream, url, gateway, proxy, mode, steps, certificates, modes } = diagnosis
  const way = proxy === undefined ? '' : ` by way of ${proxy}`
  const what = gateway ? ', another gateway' : ''
  const parts = [
    `${printable(`${upstream}: ${url}${what}${way}, ${mode}`)}\n`,
    stepTable(steps),
    ...(certificates.length === 0 ? [] : [certificateTable(certificates)]),
    ...(modes.length === 0 ? [] : [modeTable(modes)]),
    sentences(diagnosis),
  ]
  return `${parts.join('\n')}\n`
}

function stepTable(steps: readonly Step[]): string {
  return formatTable(
    [{ title: 'STEP' }, { title: 'RESULT' }, { title: 'MS', right: true }, { title: 'FOUND' }],
    steps.map(({ step, outcome, ms, detail }) => [
      step,
      outcome,
      ms === undefined ? '' : ms.toFixed(1),
      clipped(printable(detail)),
    ]),
  )
}

/** Error pages are long; JSON has all of it. */
function clipped(text: string): string {
  return text.length > widest ? `${text.slice(0, widest - 1)}…` : text
}

function certificateTable(certificates: readonly ChainCertificate[]): string {
  return formatTable(
    [
      { title: 'CERTIFICATE' },
      { title: 'ISSUER' },
      { title: 'NAMES' },
      { title: 'DAYS LEFT', right: true },
    ],
    certificates.map(({ subject, issuer, names, daysLeft }) => [
      printable(subject),
      printable(issuer),
      printable(names.join(', ')),
      String(daysLeft),
    ]),
  )
}

function modeTable(modes: readonly ModeResult[]): string {
  return formatTable(
    [{ title: 'TLS MODE' }, { title: 'RESULT' }, { title: 'REASON' }],
    modes.map(({ mode, outcome, reason = '' }) => [
      mode,
      outcome,
      outcome === 'untried' ? 'the config has no client certificate' : printable(reason),
    ]),
  )
}

function sentences({ ok, steps, warnings }: Diagnosis): string {
  const failures = steps.flatMap(({ message }) => (message === undefined ? [] : [message]))
  const lines = [
    ...failures.map((message) => `Failed: ${message}`),
    ...warnings.map((warning) => `Warning: ${warning}`),
    ...(ok ? ['As configured, it works.'] : []),
  ]
  return lines.map((line) => `${printable(line)}\n`).join('')
}
