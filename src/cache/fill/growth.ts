// Says what readers have to know of a download, at any moment.
import type { GatewayError } from '../../errors.ts'
import type { GrowingFile } from './growing-file.ts'

export interface Growth {
  /** undefined before the upstream has answered. */
  file: Pick<GrowingFile, 'tail' | 'beganAt'> | undefined
  /** Bytes of the whole, as far as they are known. */
  size: number | undefined
  /** All bytes are there, and hash to the digest. */
  isVerified: boolean
  failure: GatewayError | undefined
}
