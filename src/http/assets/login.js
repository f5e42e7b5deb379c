// The token goes in a header, so that it is left in no address.
const form = document.getElementById('login');
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const answer = document.getElementById('answer');
  try {
    const response = await fetch('/login', {
      headers: { Authorization: `Bearer ${document.getElementById('token').value}` },
    });
    if (response.ok) location.replace('/');
    else answer.textContent = 'This is not the token of the server.';
  } catch {
    answer.textContent = 'The server does not answer, or the token has letters that no token has.';
  }
});
