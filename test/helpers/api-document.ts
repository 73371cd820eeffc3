// An OpenAPI document of docs/reference/api: what it says of an operation, and whether an answer of
// a running server is as it says.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TSchema } from 'typebox'
import Schema from 'typebox/schema'
import { parse } from 'yaml'

export const folder = join(import.meta.dirname, '../../docs/reference/api')

interface Header {
  required?: boolean
  schema: { type?: string }
}

interface Media {
  schema?: object
  examples?: Record<string, { value?: unknown; $ref?: string }>
}

export interface Response {
  headers: Record<string, Header>
  content: Record<string, Media>
}

export interface Operation {
  id: string
  /** Upper case. */
  method: string
  /** Template, such as `/v2/{name}/tags/list`. */
  path: string
  /** By status, and `default`. */
  responses: Record<string, Response>
}

export interface Document {
  operations: Operation[]
  components: { schemas: Record<string, Record<string, unknown>> }
}

/** What came back. Header names are lower-case. */
export interface Answer {
  status: number
  headers: Record<string, string>
  body: Buffer
}

const methods = ['get', 'head', 'put', 'post', 'delete', 'patch', 'options']

export function readDocument(file: 'ociregistry.yaml' | 'admin.yaml'): Document {
  const raw = parse(readFileSync(join(folder, file), 'utf8')) as Raw
  const operations = Object.entries(raw.paths).flatMap(([path, item]) =>
    methods.flatMap((method) => {
      const operation = item[method]
      if (operation === undefined) return []
      const { operationId, responses } = operation
      const found = Object.entries(responses).map(([status, response]) => [
        status,
        responseOf(raw, response),
      ])
      const resolved = Object.fromEntries(found) as Operation['responses']
      return [{ id: operationId, method: method.toUpperCase(), path, responses: resolved }]
    }),
  )
  return { operations, components: raw.components }
}

/** Headers that any answer may have, by HTTP itself or for browsers, and are documented nowhere. */
const everywhere = new Set(
  `accept-ranges cache-control connection content-length content-security-policy content-type date
  docker-distribution-api-version etag keep-alive last-modified transfer-encoding
  x-content-type-options x-request-id`.split(/\s+/),
)

/** How an answer differs from the document; nothing where it does not. */
export function differences(document: Document, operation: Operation, answer: Answer): string[] {
  const { status, headers, body } = answer
  const response = operation.responses[status] ?? operation.responses['default']
  if (response === undefined) return [`status ${status} is not documented`]
  const documented = new Map(
    Object.entries(response.headers).map(([name, header]) => [name.toLowerCase(), header]),
  )
  const unknown = Object.keys(headers)
    .filter((name) => !documented.has(name) && !everywhere.has(name))
    .map((name) => `header ${name} is not documented`)
  const wrong = [...documented].flatMap(([name, header]) =>
    wrongHeader(document, name, header, headers[name]),
  )
  const bodiless = operation.method === 'HEAD' || status === 304
  if (bodiless) return [...unknown, ...wrong, ...(body.length > 0 ? ['there is a body'] : [])]
  return [...unknown, ...wrong, ...wrongBody(document, response, answer)]
}

/** The codes that a response has examples of. */
export function exampleCodes({ content }: Response): string[] {
  return Object.entries(content['application/json']?.examples ?? {}).map(([name, { value }]) => {
    const { errors } = value as { errors: { code: string }[] }
    if (errors[0]?.code !== name) throw new Error(`the example ${name} is of ${errors[0]?.code}`)
    return name
  })
}

function wrongHeader(
  document: Document,
  name: string,
  { required = false, schema }: Header,
  text: string | undefined,
): string[] {
  if (text === undefined) return required ? [`header ${name} is missing`] : []
  // A number in a header is a text like any other.
  const number = /^\d+$/.test(text) ? Number(text) : text
  return matches(document, schema, text) || matches(document, schema, number)
    ? []
    : [`header ${name} is ${text}`]
}

function wrongBody(document: Document, { content }: Response, { headers, body }: Answer): string[] {
  const type = headers['content-type']?.split(';')[0] ?? 'none'
  const media = content[type] ?? content['*/*']
  if (media === undefined) return body.length > 0 ? [`a body of type ${type}`] : []
  if (media.schema === undefined) return []
  const value: unknown = type.endsWith('json') ? JSON.parse(body.toString()) : body.toString()
  return matches(document, media.schema, value) ? [] : [`the body is ${body.toString()}`]
}

/** References are looked up below `components`, as the document has them. */
function matches({ components }: Document, schema: object, value: unknown): boolean {
  return Schema.Compile({ ...schema, components } as TSchema).Check(value)
}

/** A parsed file: references not followed yet. */
interface Raw {
  paths: Record<string, Record<string, { operationId: string; responses: Record<string, object> }>>
  components: Document['components'] & Record<string, Record<string, object>>
}

function responseOf(raw: Raw, response: object): Response {
  const { headers = {}, content = {} } = follow(raw, response) as Partial<Response>
  const resolved = Object.entries(headers).map(([name, header]) => [name, follow(raw, header)])
  return { headers: Object.fromEntries(resolved) as Response['headers'], content }
}

function follow(raw: Raw, value: object): object {
  if (!('$ref' in value)) return value
  const [kind = '', name = ''] = String(value.$ref).replace('#/components/', '').split('/')
  const target = raw.components[kind]?.[name]
  if (target === undefined) throw new Error(`${String(value.$ref)} leads nowhere`)
  return follow(raw, target)
}
