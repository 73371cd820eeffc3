// What signs the requests to a bucket: a file, a web identity token, or what the client finds by itself.
import { readFile } from 'node:fs/promises'
import type * as S3 from '@aws-sdk/client-s3'
import type { S3Config } from '../../config/cache/schema.ts'

/** What of the client's config is about them. */
export async function s3Credentials({ credentials, region }: S3Config): Promise<S3.S3ClientConfig> {
  const { file, profile, tokenFile, roleArn } = credentials
  if (file !== undefined) return { credentials: async () => readCredentials(file, profile) }
  if (tokenFile === undefined || roleArn === undefined) return {}
  const { fromTokenFile } = await import('@aws-sdk/credential-provider-web-identity')
  const role = { webIdentityTokenFile: tokenFile, roleArn }
  return { credentials: fromTokenFile({ ...role, clientConfig: { region } }) }
}

/** How long they are used before the file is read again, ms. */
const credentialsFor = 60_000

/** Rejects with an Error `CredentialsFile` that says what is missing, and never what is there. */
async function readCredentials(file: string, profile: string) {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw credentialsError(`${file} cannot be read`, cause)
  })
  const found = new Map<string, string>()
  let section = 'default'
  for (const line of text.split(/\r?\n/)) {
    const name = /^\s*\[([^\]]+)\]\s*$/.exec(line)?.[1]?.trim()
    if (name !== undefined) section = name
    const equals = line.indexOf('=')
    if (section !== profile || equals < 0) continue
    found.set(line.slice(0, equals).trim().toLowerCase(), line.slice(equals + 1).trim())
  }
  const accessKeyId = found.get('aws_access_key_id')
  const secretAccessKey = found.get('aws_secret_access_key')
  const sessionToken = found.get('aws_session_token')
  if (!accessKeyId || !secretAccessKey) {
    throw credentialsError(
      `${file} has no aws_access_key_id and aws_secret_access_key in the section ${profile}`,
    )
  }
  const expiration = new Date(Date.now() + credentialsFor)
  const session = sessionToken === undefined ? {} : { sessionToken }
  return { accessKeyId, secretAccessKey, ...session, expiration }
}

function credentialsError(message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { name: 'CredentialsFile' })
}
