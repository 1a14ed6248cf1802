/** Reading what lies beside the page, with a sentence that names what is missing. */
import { MobileSAMError } from "./mobilesam";

/** The answer to a request. Throws MobileSAMError: there is none, or one of an error. */
export async function fetched(address: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address);
  } catch (error) {
    throw new MobileSAMError(`${address} cannot be had (${(error as Error).message})`);
  }
  if (!response.ok) {
    throw new MobileSAMError(`${address} cannot be had (HTTP status ${response.status})`);
  }
  return response;
}

/** A JSON file's content. Throws MobileSAMError: there is no such file, or it is something else. */
export async function fetchedJSON<Value>(address: string): Promise<Value> {
  const text = await (await fetched(address)).text();
  try {
    return JSON.parse(text) as Value;
  } catch {
    throw new MobileSAMError(
      `${address} is not JSON: the page is served from a folder that 'mobilesam web' did not write`,
    );
  }
}
