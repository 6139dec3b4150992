"""What the API answers, one module a subject: the models that documents and answers are both made of."""
