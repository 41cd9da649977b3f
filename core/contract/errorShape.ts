import * as z from "zod";
import { errorCodes, type ErrorData } from "./errors";

/** Checks what another process sent as an error. Apart from `errors`, so that a machine process starts without the checker. */
export const ErrorShape: z.ZodType<ErrorData> = z.object({ code: z.enum(errorCodes), message: z.string(), remedy: z.string().optional() });
