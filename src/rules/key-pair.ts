// Judges a certificate and its private key: whether the key can be opened, the two belong together,
// and they are good for their purpose at this moment.
import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto'
import { statSync } from 'node:fs'

const keyBlock = /-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----[^]*?-----END \1-----/

/** What to say of a key that is encrypted: without a passphrase, and with a wrong one. */
export interface EncryptedKeyMessages {
  withoutPassphrase: string
  wrongPassphrase: string
}

/**
 * The first private key in a PEM text. Throws an Error whose message follows the name of the
 * setting.
 */
export function parsePrivateKey(
  pem: string,
  passphrase: string | undefined,
  messages: EncryptedKeyMessages,
): KeyObject {
  const [block = '', label = ''] = keyBlock.exec(pem) ?? []
  // The word alone may stand in a comment.
  const encrypted = label.startsWith('ENCRYPTED') || /^Proc-Type: *4, *ENCRYPTED/m.test(block)
  if (encrypted && passphrase === undefined) throw new Error(messages.withoutPassphrase)
  try {
    return createPrivateKey({ key: block, ...(encrypted ? { passphrase } : {}) })
  } catch (cause) {
    const message = encrypted
      ? messages.wrongPassphrase
      : 'has no usable PEM private key (-----BEGIN PRIVATE KEY-----)'
    throw new Error(message, { cause })
  }
}

/** How a key fits a chain, whose first certificate it should belong to. */
export function matchOf(
  [leaf, ...rest]: readonly X509Certificate[],
  key: KeyObject,
): 'leaf' | 'further down' | 'none' {
  if (leaf?.checkPrivateKey(key) === true) return 'leaf'
  return rest.some((certificate) => certificate.checkPrivateKey(key)) ? 'further down' : 'none'
}

const purposes = {
  server: { oid: '1.3.6.1.5.5.7.3.1', name: 'serverAuth' },
  client: { oid: '1.3.6.1.5.5.7.3.2', name: 'clientAuth' },
} as const

/** What is wrong with a certificate now: its dates, or what it is for. */
export function leafProblems(
  leaf: X509Certificate,
  purpose: keyof typeof purposes,
  now = Date.now(),
): string[] {
  const { oid, name } = purposes[purpose]
  // Node calls the extended key usage `keyUsage`.
  const usage = leaf.keyUsage as string[] | undefined
  return [
    ...(leaf.validToDate.getTime() <= now
      ? [`has expired on ${leaf.validToDate.toISOString()}: renew it`]
      : []),
    ...(usage === undefined || usage.includes(oid)
      ? []
      : [`is not for ${purpose}s: its extended key usage lacks ${name}`]),
  ]
}

/** Says so where every account of this machine can read a file with a private key. */
export function exposureOf(file: string): string | undefined {
  const mode = statSync(file, { throwIfNoEntry: false })?.mode ?? 0
  if ((mode & 0o004) === 0) return undefined
  return `can be read by everybody on this machine: chmod 0600 ${file}, or 0640 for a group`
}
