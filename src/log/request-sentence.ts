// Says in one line, for people, what the log has of a request.
import { roughSize } from '../config/units.ts'

/** Such as `GET docker.io/library/alpine:3.20 200, 2.0 KiB from memory in 0.4 ms, CN=edge-1 at ::1, 5f-1`. */
export function requestSentence(facts: Readonly<Record<string, unknown>>): string {
  const text = (key: string) => {
    const fact = facts[key]
    return typeof fact === 'string' || typeof fact === 'number' ? String(fact) : undefined
  }
  const source = text('source')
  const from = source === undefined || source === 'none' ? '' : ` from ${source}`
  const who = [text('identity'), text('client')].filter(Boolean).join(' at ')
  const parts = [
    `${text('method')} ${nameOf(text)} ${text('status')}`,
    `${roughSize(Number(facts['bytes'] ?? 0))}${from}${facts['stale'] === true ? ', stale,' : ''} in ${text('ms')} ms`,
    who,
    text('requestId') ?? '',
  ].filter((part) => part !== '')
  const failure = [text('code'), text('reason')].filter(Boolean).join(' ')
  const why = [text('message'), text('why')].filter(Boolean).join(': ')
  return `${parts.join(', ')}${failure === '' ? '' : `; ${failure}: ${why}`}`
}

function nameOf(text: (key: string) => string | undefined): string {
  const reference = text('reference')
  const repository = text('repository')
  if (repository === undefined) return reference ?? '(no resource)'
  const name = `${text('upstream')}/${repository}`
  if (reference === undefined) return name
  return `${name}${reference.includes(':') ? '@' : ':'}${reference}`
}
