/** The address that the app lives under, without a slash at its end. */
export const rootAddress = () => (window.gradio_config?.root ?? "").replace(/\/$/, "");
