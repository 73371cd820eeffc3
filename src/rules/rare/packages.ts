// Large packages that most gateways never use, loaded where they are.
import { createRequire } from 'node:module'
import type * as X509 from '@peculiar/x509'
import type * as Bcryptjs from 'bcryptjs'
import type * as Jose from 'jose'
import type * as Tldts from 'tldts'
import type * as Undici from 'undici'

const require = createRequire(import.meta.url)

/** For SPIFFE IDs, and for the names of revocation lists. */
export function x509(): typeof X509 {
  require('reflect-metadata')
  return require('@peculiar/x509') as typeof X509
}

/** For bearer tokens. */
export function jose(): typeof Jose {
  return require('jose') as typeof Jose
}

/** For passwords. */
export function bcryptjs(): typeof Bcryptjs {
  return require('bcryptjs') as typeof Bcryptjs
}

/** For token services at other hosts than their registries: the list of public suffixes. */
export function tldts(): typeof Tldts {
  return require('tldts') as typeof Tldts
}

/** For proxies, and for tokens and keys, which are asked for by its `request`. */
export function undici(): typeof Undici {
  return require('undici') as typeof Undici
}
