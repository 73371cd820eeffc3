// Writes a text as one word of a POSIX shell, for commands that somebody will paste.

/** `text` as it is where no shell reads anything into it; in single quotes otherwise. */
export function shellWord(text: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text)
    ? text
    : `'${text.replaceAll("'", String.raw`'\''`)}'`
}
